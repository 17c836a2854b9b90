"""A run on two towers of CLIP as one CLIP: an ordinary folder of Transformers, and so a `--model.pair`.

Axes: `dim` = shared space, `width` = a tower's pooled output.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pairjepa.apps.export.folder import check_equal, new_folder, processor
from pairjepa.backbones.loading import quiet
from pairjepa.backbones.pair import load_pair
from pairjepa.embedder.embedder import Embedder
from pairjepa.util.errors import UsageError

_EXACT = 1e-5


def export_clip(embedder: Embedder, folder: str | Path) -> None:
    """Write a `CLIPModel` with tokenizer and image processor to a new or empty folder.

    A linear head becomes CLIP's projection; what it adds goes into the last LayerNorm of its tower.

    Raises:
        UsageError: a setting of the run has no counterpart in CLIP; the message names it.
        PairJEPAError: the folder holds something, or the result is not what the run computes.
    """
    from transformers import CLIPConfig, CLIPModel

    check_settings(embedder)
    joint, image, text = embedder.joint, embedder.image, embedder.text
    vision: Any = image.model
    words: Any = text.model
    with new_folder(Path(folder), "clip", embedder.weights) as temporary, quiet(), torch.no_grad():
        towers = {"text_config": words.config.to_dict(), "vision_config": vision.config.to_dict()}
        model: Any = CLIPModel(CLIPConfig(**towers, projection_dim=joint.dim))
        model.vision_model.load_state_dict(vision.state_dict())
        model.text_model.load_state_dict(words.state_dict())
        for head, width, projection, norm in (
            (joint.predict, image.width, model.visual_projection, model.vision_model.post_layernorm),
            (joint.target, text.width, model.text_projection, model.text_model.final_layer_norm),
        ):
            weight, bias = _linear(head, width)
            projection.weight.copy_(weight)
            norm.bias.add_(_before(weight, bias))
        model.logit_scale.fill_(-math.log(embedder.temperature))
        model.save_pretrained(temporary)
        text.tokenizer.save_pretrained(temporary)
        processor(embedder).save_pretrained(temporary)
        image, text = load_pair(temporary, embedder.text.max_tokens)
        view = embedder.config.model.image_views[0]
        check_equal(
            embedder,
            lambda pictures: _unit(
                image,
                image.normalise(torch.from_numpy(np.stack([image.prepare(one, view) for one in pictures]))),
            ),
            lambda captions: _unit(text, *text.collate(text.tokenize(captions))),
        )


def check_settings(embedder: Embedder) -> None:
    """Raise `UsageError` for what is not a CLIP."""
    model = embedder.config.model
    kinds = {name: getattr(model, name).kind for name in ("image_projection", "predictor", "text_projection")}
    wrong = next((name for name, kind in kinds.items() if kind not in ("identity", "linear")), None)
    towers = {"image": "CLIPVisionModel", "text": "CLIPTextModel"}
    other = next(
        (side for side in towers if type(getattr(embedder, side).model).__name__ != towers[side]), None
    )
    rule = None
    if model.pair is not None:
        rule = "model.pair must be none (a CLIP has no adapters)"
    elif other:
        rule = f"model.{other} must be the {other} tower of a CLIP"
    elif wrong:
        rule = f"model.{wrong}.kind must be linear or identity, got {kinds[wrong]!r},"
    elif embedder.sees_captions:
        rule = "context.caption must be none"
    elif len(model.image_views) > 1 or model.image_views[0].endswith("mirrored"):
        rule = f"model.image_views must be whole or centre alone, got {', '.join(model.image_views)},"
    elif embedder.image.stages or embedder.text.layers:
        rule = "model.image_stages and model.text_layers must be -1"
    elif embedder.text.pooling != "last":
        rule = f"model.text_pooling must be last, got {embedder.text.pooling!r},"
    if rule:
        raise UsageError(f"{rule} to be exported to clip. Share the run with --to onnx or --to hub.")


def _linear(head: Callable[[Tensor], Tensor], width: int) -> tuple[Tensor, Tensor]:
    """Weight (dim, width) and bias of a head that is linear, standardiser included."""
    bias = head(torch.zeros(1, width))[0]
    return (head(torch.eye(width)) - bias).T, bias


def _before(weight: Tensor, bias: Tensor) -> Tensor:
    """What has to be added before a projection so that `bias` is added behind it.

    Raises:
        UsageError: the projection does not reach it.
    """
    added = torch.linalg.pinv(weight.double()) @ bias.double()
    if (weight.double() @ added - bias).abs().max() > _EXACT:
        raise UsageError(
            f"model.dim must be at most the width of each tower to be exported to clip, got {len(bias)} for "
            f"{weight.shape[1]}."
        )
    return added.float()


@torch.inference_mode()
def _unit(tower: nn.Module, *batch: Tensor) -> np.ndarray:
    rows: Tensor = tower(*batch)
    return F.normalize(rows, dim=1).numpy()
