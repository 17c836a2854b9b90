"""The joint model: (image, partly masked caption) → context → prediction, caption → target.

Axes: `batch`, `width` = backbone features, `dim` = shared space. Inputs are features, whether from the cache or from
a backbone that is tuned. The contrastive approach is the case in which the whole caption is hidden.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from pairjepa.config.settings import ContextConfig, ModelConfig
from pairjepa.model.heads import Gated, Standardizer, build_head, width_after
from pairjepa.model.tokens import TokenPredictor
from pairjepa.util.errors import UsageError

EMA_MOMENTUM = 0.99  # a step; I-JEPA has 0.996 to 1 over many more steps


class JointModel(nn.Module):
    """Context encoder, predictor and target encoder, without the backbones."""

    def __init__(
        self,
        config: ModelConfig,
        context: ContextConfig,
        image_width: int,
        text_width: int,
        tokens: tuple[int, int] | None = None,
    ) -> None:
        """Build the heads for backbones of these feature widths.

        For a predictor over tokens, `tokens` are the widths of the pooled image features, which stand before those of
        the grid's cells, and of a word embedding.

        Raises:
            UsageError: prediction and target would differ in width.
        """
        super().__init__()
        self._sees_image, self._sees_caption = context.image, context.caption is not None
        image_side = caption_side = 0
        self.image_standardizer = Standardizer(image_width)
        self.text_standardizer = Standardizer(text_width)
        self._over_tokens = tokens is not None
        if self._sees_image and tokens is None:
            self.image_projection = build_head(image_width, config.dim, config.image_projection)
            image_side = width_after(image_width, config.dim, config.image_projection)
        if self._sees_caption and tokens is None:
            self.caption_standardizer = Standardizer(text_width)
            self.caption_projection = build_head(text_width, config.dim, config.caption_projection)
            caption_side = width_after(text_width, config.dim, config.caption_projection)
        self._caption_width, context_width = caption_side, image_side + caption_side
        if tokens is not None:
            self.predictor: nn.Module = TokenPredictor(config, context, image_width, *tokens)
        elif config.predictor.kind in ("gated", "adapter") and image_side and caption_side:
            self.predictor = Gated(image_side, caption_side, config.dim, config.predictor)
        else:
            self.predictor = build_head(context_width, config.dim, config.predictor)
        self.text_projection = build_head(text_width, config.dim, config.text_projection)
        self._ema = context.target == "ema"
        if self._ema:
            self.text_projection.load_state_dict(self.caption_projection.state_dict())
        if self._ema or context.target == "frozen":
            self.text_projection.requires_grad_(False)
        prediction = config.dim if tokens else width_after(context_width, config.dim, config.predictor)
        target = width_after(text_width, config.dim, config.text_projection)
        if prediction != target:
            raise UsageError(
                f"model.predictor must end in the width of the target, got {prediction} and {target}. "
                "Give one of model.image_projection, model.predictor and model.text_projection "
                "another kind than identity."
            )
        self.dim = prediction
        self._auxiliary = config.auxiliary
        if config.auxiliary is not None:
            beside = text_width if config.auxiliary == "features" else context_width
            self.auxiliary_head = nn.Linear(self.dim, beside)

    def predict(
        self,
        image: Float[Tensor, "batch width"],
        caption: Float[Tensor, "batch *text"] | None = None,
    ) -> Float[Tensor, "batch dim"]:
        """Context → prediction, before normalisation.

        Args:
            image: image features.
            caption: features of the partly masked captions (`batch token word` for a predictor over tokens); None
                hides all of them whole.
        """
        if self._over_tokens:
            seen_image = self.image_standardizer(image) if self._sees_image else None
            return self.predictor(seen_image, caption, image.shape[0])
        seen = self.image_projection(self.image_standardizer(image)) if self._sees_image else None
        words = None
        if self._sees_caption and caption is not None:
            words = self.caption_projection(self.caption_standardizer(caption))
        if isinstance(self.predictor, Gated):
            return self.predictor(seen, words)
        if words is None and self._sees_caption:
            words = image.new_zeros(image.shape[0], self._caption_width)
        parts = [side for side in (seen, words) if side is not None]
        out: Tensor = self.predictor(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))
        return out

    def target(self, text: Float[Tensor, "batch width"]) -> Float[Tensor, "batch dim"]:
        """Caption features → target, before normalisation."""
        out: Tensor = self.text_projection(self.text_standardizer(text))
        return out

    def auxiliary(
        self,
        image: Float[Tensor, "batch image"],
        text: Float[Tensor, "batch text"],
        prediction: Float[Tensor, "batch dim"],
        target: Float[Tensor, "batch dim"],
    ) -> tuple[Tensor, ...]:
        """What is predicted beside the target and what it should be, see `model.auxiliary`; nothing without it.

        Features are a fixed target: no gradient reaches a backbone that learns. The context is projected once more,
        with a dropout of its own.
        """
        if self._auxiliary is None:
            return ()
        if self._auxiliary == "features":
            return self.auxiliary_head(prediction), self.text_standardizer(text).detach()
        return self.auxiliary_head(target), self.image_projection(self.image_standardizer(image))

    @torch.no_grad()
    def update_ema_target(self) -> None:
        """After a step: move an EMA target a little towards the caption side of the context (I-JEPA's form)."""
        if self._ema:
            online = self.caption_projection.state_dict()
            for name, value in self.text_projection.state_dict().items():
                if value.is_floating_point():
                    value.lerp_(online[name], 1 - EMA_MOMENTUM)
                else:
                    value.copy_(online[name])


def mean_direction(views: Float[Tensor, "batch view dim"]) -> Float[Tensor, "batch dim"]:
    """The unit vector of the mean of the views' unit vectors."""
    return F.normalize(F.normalize(views, dim=-1).mean(dim=1), dim=-1)
