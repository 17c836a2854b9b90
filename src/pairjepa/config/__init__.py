"""The settings of a run, and the recipes that name complete ones."""
