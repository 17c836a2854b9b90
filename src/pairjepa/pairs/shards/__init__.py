"""Pairs in WebDataset shards: where they are, what is in them, reading by range, and writing them."""
