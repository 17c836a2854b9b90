"""Everything that explains a run: `collect` makes it from the artefacts on disk, the page and the figures show it."""

from pairjepa.apps.report.collect import collect

__all__ = ["collect"]
