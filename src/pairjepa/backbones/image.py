"""Pictures → features: what a vision model gives at its end, and at the ends of lower stages, pooled.

Axes: `batch`, `channel`, `size`/`height`/`width` = pixels of the input, `feature` = features side by side.
"""

import inspect
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from pairjepa.backbones.loading import MEND, architecture, chosen_states, quiet, weights_digest
from pairjepa.backbones.preprocessing import SHAPE, Preprocessing
from pairjepa.config.settings import View
from pairjepa.util.checksums import read_record, write_record
from pairjepa.util.errors import PairJEPAError, UsageError, first_line
from pairjepa.util.files import digest

SETTINGS = "pairjepa_image.json"


class ImageBackbone(nn.Module):
    """A vision model of Transformers, its preprocessing, and the stages that are pooled.

    Features are, side by side:

    - the output: the model's own pooled output (CNNs: the mean over positions; DINOv2, CLIP: the normalised
      class token; SigLIP: its attention head). Without one (ViT, DeiT, whose dense layer belongs to another
      task): the class token of the last layer, or where there is none (I-JEPA) the mean over patches.
    - each stage: the mean over positions of `hidden_states[index]`, class and register tokens left out.
    - with a grid: the cells of the deepest of these maps, averaged to `grid` x `grid`, row by row.

    Attributes:
        preprocessing: size, crop, interpolation, mean and standard deviation.
        stages: indices of `hidden_states` that are pooled beside the output.
        pooled: length of the feature vector without the grid.
        width: length of the feature vector.
        grid: side of the grid, or None.
        digest: of weights, architecture, preprocessing and stages as they were when this was made: all that
            the features of a view depend on.
    """

    _mean: Tensor
    _std: Tensor

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Preprocessing,
        stages: tuple[int, ...] | None = None,
        grid: int | None = None,
    ) -> None:
        """Wrap a model; stages of None are found by a forward pass of one small noise image.

        Raises:
            UsageError: a stage is out of range, or the model does not take this size.
        """
        super().__init__()
        self.model = model
        self.preprocessing = preprocessing
        self.register_buffer("_mean", torch.tensor(preprocessing.mean), persistent=False)
        self.register_buffer("_std", torch.tensor(preprocessing.std), persistent=False)
        self._options = self._size_options()
        output, last, states = self._probe()
        if stages is None:
            stages = stage_ends(output, [self._pool(s) for s in states], states)
        self.stages = chosen_states("model.image_stages", stages, len(states))
        self.grid = grid
        self.pooled = output.shape[1] + sum(self._pool(states[index]).shape[1] for index in self.stages)
        self.width = self.pooled + (
            self._cells(states[self.stages[-1]] if self.stages else last).numel() if grid else 0
        )
        extra = [grid] if grid else []
        self.digest = digest(
            weights_digest(model), architecture(model), preprocessing.to_dict(), list(self.stages), *extra
        )
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.eval()

    @property
    def tower(self) -> nn.Module:
        """What learns where the backbone is tuned."""
        return self

    def prepare(self, image: Image.Image, view: View) -> UInt8[np.ndarray, "size size channel"]:
        """One view of an RGB picture, as pixels."""
        return self.preprocessing.prepare(image, view)

    def normalise(self, pixels: UInt8[Tensor, "batch size size 3"]) -> Float[Tensor, "batch 3 size size"]:
        """Pixels as the model takes them; the result lies in memory channels last, the quickest for CNNs."""
        channels_first = pixels.permute(0, 3, 1, 2).float()
        return (channels_first - self._mean[:, None, None]) / self._std[:, None, None]

    def forward(self, pixels: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch feature"]:
        """Features of normalised pictures."""
        output = self._run(pixels)
        states = [output.hidden_states[index] for index in self.stages]
        parts = [self._output(output), *(self._pool(state) for state in states)]
        if self.grid:
            parts.append(self._cells(states[-1] if states else output.last_hidden_state))
        return torch.cat(parts, dim=1)

    def positions(
        self, pixels: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch row column pooled"]:
        """Features of each position of the last map, as if a picture were that position alone.

        Lower stages are averaged to the same positions. Where the output is the class token, the patch tokens of
        the last layer stand in its place.

        Raises:
            PairJEPAError: the backbone has no map, or its output is neither the class token nor a mean of it.
        """
        output = self._run(pixels)
        last = self._map(output.last_hidden_state)
        rows, columns = last.shape[2:]
        stages = [
            F.adaptive_avg_pool2d(self._map(output.hidden_states[index]), (rows, columns))
            for index in self.stages
        ]
        own = self._like_output(output, last.permute(0, 2, 3, 1))
        return torch.cat([own, *(stage.permute(0, 2, 3, 1) for stage in stages)], dim=3)

    def save(self, folder: Path) -> None:
        """Write weights, configuration and preprocessing; `load_image_backbone(folder=...)` reads them back."""
        with quiet():
            self.model.save_pretrained(folder)  # type: ignore[operator]
        settings = {
            "preprocessing": self.preprocessing.to_dict(),
            "stages": list(self.stages),
            "grid": self.grid,
        }
        write_record(folder / SETTINGS, settings)

    def _run(self, pixels: Tensor, all_states: bool = False) -> Any:
        wanted = all_states or bool(self.stages)
        return self.model(pixel_values=pixels, output_hidden_states=wanted, **self._options)

    def _size_options(self) -> dict[str, bool]:
        """ViTs take another size than that of their position embeddings only if they are told to interpolate."""
        own = getattr(self.model.config, "image_size", None)
        own = own[0] if isinstance(own, list | tuple) else own
        if own == self.preprocessing.size:
            return {}
        parameters = inspect.signature(self.model.forward).parameters
        return {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in parameters else {}

    @torch.no_grad()
    def _probe(self) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Output, last map and all hidden states of one image of noise."""
        self.model.eval()
        size = self.preprocessing.size
        noise = torch.randn((1, 3, size, size), generator=torch.Generator().manual_seed(0))
        try:
            output = self._run(noise, all_states=True)
        except (RuntimeError, ValueError) as error:
            raise UsageError(
                f"model.image_size must be a size that the image backbone takes, got {size}. "
                f"Leave it out for the backbone's own ({first_line(error)})."
            ) from None
        return (
            self._output(output),
            output.last_hidden_state,
            list(getattr(output, "hidden_states", None) or ()),
        )

    def _output(self, output: Any) -> Tensor:
        pooled, last = getattr(output, "pooler_output", None), output.last_hidden_state
        if pooled is not None:
            return torch.flatten(pooled, 1)
        if last.ndim == 3 and self._prefix(last):
            return last[:, 0]
        return self._pool(last)

    def _pool(self, state: Tensor) -> Tensor:
        """Mean over positions of a map (batch, channel, height, width) or of tokens (batch, token, channel)."""
        if state.ndim == 4 and state.shape[2] != state.shape[3]:  # SAM's channels come last
            raise PairJEPAError(
                f"model.image_stages must be -1 for this backbone, got maps of {tuple(state.shape[1:])}, which are not "
                "channels and a square."
            )
        return state.mean((2, 3)) if state.ndim == 4 else self._patches(state).mean(1)

    def _cells(self, state: Tensor) -> Tensor:
        """A map or patch tokens as `grid` x `grid` cells, flattened: (batch, grid * grid * channel)."""
        return F.adaptive_avg_pool2d(self._map(state), self.grid).flatten(2).transpose(1, 2).flatten(1)

    def _map(self, state: Tensor) -> Tensor:
        """A map as it is, patch tokens as one: (batch, channel, height, width)."""
        if state.ndim == 4:
            return state
        patches = self._patches(state)
        side = math.isqrt(patches.shape[1])
        if side**2 != patches.shape[1]:
            raise PairJEPAError(f"The image backbone must give a square of patches, got {patches.shape[1]}.")
        return patches.transpose(1, 2).unflatten(2, (side, side))

    def _like_output(self, output: Any, last: Tensor) -> Tensor:
        """Positions of the last map (batch, row, column, channel) as the output would be of each alone.

        Some models normalise what they pool (ConvNeXt, CLIP) with their last LayerNorm; which way it is, is seen
        from the output itself.
        """
        tokens, wanted = output.last_hidden_state, self._output(output)
        bases = [last.mean((1, 2))]
        if tokens.ndim == 3 and self._prefix(tokens):
            bases.append(tokens[:, 0])
        norms = [module for module in self.model.modules() if isinstance(module, nn.LayerNorm)]
        for after in (nn.Identity(), *norms[-1:]):
            for base in bases:
                if base.shape == wanted.shape and torch.allclose(after(base), wanted, rtol=1e-3, atol=1e-4):
                    positions: Tensor = after(last)
                    return positions
        raise PairJEPAError("The image backbone pools its positions in a way of its own.")

    def _prefix(self, tokens: Tensor) -> int:
        """How many tokens stand before the patches: class, distillation, registers."""
        patch = getattr(self.model.config, "patch_size", None)
        patch = patch[0] if isinstance(patch, list | tuple) else patch
        if not patch:
            return 0
        # int: while a graph is traced, a length is a tensor
        return max(int(tokens.shape[1]) - self._behind - (self.preprocessing.size // patch) ** 2, 0)

    @property
    def _behind(self) -> int:
        """How many tokens stand behind the patches: YOLOS' detections."""
        return getattr(self.model.config, "num_detection_tokens", 0)

    def _patches(self, tokens: Tensor) -> Tensor:
        return tokens[:, self._prefix(tokens) : tokens.shape[1] - self._behind]


def stage_ends(output: Tensor, pooled: list[Tensor], states: list[Tensor], count: int = 3) -> tuple[int, ...]:
    """Indices of the last `count` hidden states that end a stage and say something that the output does not.

    A stage ends where the next state has another shape (CNNs, Swin). Where all have the same (ViT), they are taken at
    1/2, 3/4 and all of the depth. One that merely repeats the output is left out (ResNet's last).
    """
    if len(states) < 2:
        return ()
    last = len(states) - 1
    ends = [i for i, (state, following) in enumerate(pairwise(states)) if state.shape != following.shape]
    ends = [*ends, last] if ends else sorted({last // 2, 3 * last // 4, last} - {0})
    new = [
        i for i in ends if pooled[i].shape != output.shape or not torch.allclose(pooled[i], output, atol=1e-5)
    ]
    return tuple(new[-count:])


def read_settings(folder: Path) -> tuple[Preprocessing, tuple[int, ...], int | None]:
    """What `save` wrote beside the weights.

    Raises:
        PairJEPAError: it is not what `save` writes.
    """
    shape = {"preprocessing": SHAPE, "stages": [int], "grid": (type(None), int)}
    settings = read_record(folder / SETTINGS, shape, MEND)
    return (
        Preprocessing.from_dict(settings["preprocessing"]),
        tuple(settings["stages"]) or (-1,),
        settings["grid"],
    )
