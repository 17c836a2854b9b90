"""A run or a pretrained pair in use, whatever computes it: `Embedder` with PyTorch, `OnnxEmbedder` without."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pairjepa.util.progress import say

if TYPE_CHECKING:
    from pairjepa.embedder.embedder import Embedder
    from pairjepa.embedder.onnx_embedder import OnnxEmbedder

    Encoder = Embedder | OnnxEmbedder
else:
    Encoder = Any  # neither is imported before it is used


def warn_of_unknown(encoder: Encoder, texts: Sequence[str], what: str) -> None:
    """Say how much of a query's words or of labels (`what`) is unknown to the run's text backbone."""
    if (share := encoder.unknown_share(texts)) > 0.05:
        say(
            f"warning: {share:.0%} of the {what}' tokens are unknown to the text backbone of this run, so that they "
            "say nothing to it. Use the language of its captions, or train a run with a multilingual encoder."
        )
