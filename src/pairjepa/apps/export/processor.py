"""A run's preprocessing as an image processor of Transformers."""

from typing import Any

from pairjepa.embedder.embedder import Embedder


def processor(embedder: Embedder) -> Any:
    """The preprocessing of the view as a processor of Transformers, in its form without torchvision."""
    from transformers import CLIPImageProcessorPil

    how = embedder.image.preprocessing
    centre = embedder.config.model.image_views[0] == "centre"
    side = how.resize if centre else how.size
    return CLIPImageProcessorPil(
        size={"shortest_edge": side} if centre and how.keep_aspect else {"height": side, "width": side},
        do_center_crop=centre,
        crop_size={"height": how.size, "width": how.size},
        resample=how.resample,
        rescale_factor=1 / 255,
        image_mean=[mean / 255 for mean in how.mean],
        image_std=[std / 255 for std in how.std],
    )
