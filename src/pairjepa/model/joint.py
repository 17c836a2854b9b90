"""The joint model: image → context → prediction, caption → target.

Axes: `batch`, `width` = backbone features, `dim` = shared space. Inputs are features (backbone frozen) or what the
backbone itself takes (backbone tuned); everything after the backbone is the same.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from pairjepa.config import ModelConfig
from pairjepa.errors import UsageError
from pairjepa.model.heads import Standardizer, build_head, width_after


class JointModel(nn.Module):
    """Context encoder, predictor and target encoder, without the backbones."""

    def __init__(self, config: ModelConfig, image_width: int, text_width: int) -> None:
        """Build the heads for backbones of these feature widths.

        Raises:
            UsageError: prediction and target would differ in width.
        """
        super().__init__()
        self.image_standardizer = Standardizer(image_width)
        self.text_standardizer = Standardizer(text_width)
        self.image_projection = build_head(image_width, config.dim, config.image_projection)
        context = width_after(image_width, config.dim, config.image_projection)
        self.predictor = build_head(context, config.dim, config.predictor)
        self.text_projection = build_head(text_width, config.dim, config.text_projection)
        prediction = width_after(context, config.dim, config.predictor)
        target = width_after(text_width, config.dim, config.text_projection)
        if prediction != target:
            raise UsageError(
                f"model.predictor must end in the width of the target, got {prediction} and {target}. "
                "Give one of model.image_projection, model.predictor and model.text_projection "
                "another kind than identity."
            )
        self.dim = prediction

    def predict(self, image: Float[Tensor, "batch width"]) -> Float[Tensor, "batch dim"]:
        """Image features → prediction, before normalisation."""
        out: Tensor = self.predictor(self.image_projection(self.image_standardizer(image)))
        return out

    def target(self, text: Float[Tensor, "batch width"]) -> Float[Tensor, "batch dim"]:
        """Caption features → target, before normalisation."""
        out: Tensor = self.text_projection(self.text_standardizer(text))
        return out


def mean_direction(views: Float[Tensor, "batch view dim"]) -> Float[Tensor, "batch dim"]:
    """The unit vector of the mean of the views' unit vectors."""
    return F.normalize(F.normalize(views, dim=-1).mean(dim=1), dim=-1)
