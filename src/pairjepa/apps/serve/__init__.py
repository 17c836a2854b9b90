"""Search an index over HTTP, and a page to do it with."""
