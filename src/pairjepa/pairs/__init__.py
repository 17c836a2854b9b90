"""What goes in: image-caption pairs from anyone's data, in one table that is counted, checked and split by image."""

from pairjepa.pairs.images import BadImage
from pairjepa.pairs.problems import Problems
from pairjepa.pairs.table import Pairs, open_pairs

__all__ = ["BadImage", "Pairs", "Problems", "open_pairs"]
