"""The run folder, and groups of runs that differ only in their seed."""
