"""Pure functions of arrays: retrieval, its intervals, its baselines, and the geometry of an embedding space."""
