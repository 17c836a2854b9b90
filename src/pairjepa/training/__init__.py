"""The loop, its inputs, its checkpoints and the watch on collapse."""
