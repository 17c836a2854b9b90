"""Use a trained run: an index of images (`build.build` makes one), and searches in it."""

from pairjepa.apps.search.index import Hit, Index, Item

__all__ = ["Hit", "Index", "Item"]
