"""The predictor over tokens, I-JEPA's form: a transformer over the image's cells, the visible words and mask tokens.

Axes: `batch`, `cell` = positions of the image's grid, `token` = positions of the caption, `model` = inner width.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pairjepa.backbones.words import ABSENT, MASKED
from pairjepa.config.settings import ContextConfig, ModelConfig
from pairjepa.model.heads import Dropout, Residual

LAYERS = 2
HEAD_WIDTH = 64


class TokenPredictor(nn.Module):
    """Image cells, words and mask tokens → prediction, read off a query token.

    Beside the transformer stands a residual map of the pooled image, the default predictor of image-only queries;
    the transformer adds what positions and words say.

    Source: Assran et al. 2023 (I-JEPA), section 3: a narrow transformer over context tokens and mask tokens.
    """

    def __init__(
        self, config: ModelConfig, context: ContextConfig, image_width: int, pooled: int, word: int
    ) -> None:
        """Build it.

        Args:
            config: the predictor's `hidden_dim` is the inner width, a multiple of 64.
            context: what is seen.
            image_width: of the image features, pooled ones and those of the grid's cells behind them.
            pooled: width of the pooled image features.
            word: width of a word embedding.
        """
        super().__init__()
        assert config.image_grid is not None
        assert config.max_tokens is not None
        head, inner = config.predictor, config.predictor.hidden_dim
        self._pooled, self._cells, self._cell_dropout = pooled, config.image_grid**2, context.cell_dropout
        self.query = nn.Parameter(torch.randn(1, 1, inner) * 0.02)
        if context.image:
            self.direct = Residual(pooled, config.dim, head)
            self.whole = nn.Sequential(Dropout(head.input_dropout), nn.Linear(pooled, inner))
            channels = (image_width - pooled) // self._cells
            self.cell = nn.Sequential(Dropout(head.input_dropout), nn.Linear(channels, inner))
            self.place = nn.Parameter(torch.randn(1, self._cells, inner) * 0.02)
        if context.caption is not None:
            self.word = nn.Linear(word, inner)
            self.mask = nn.Parameter(torch.randn(inner) * 0.02)
            self.order = nn.Parameter(torch.randn(1, config.max_tokens, inner) * 0.02)
        layer = nn.TransformerEncoderLayer(
            inner,
            inner // HEAD_WIDTH,
            2 * inner,
            head.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.out = nn.Sequential(nn.LayerNorm(inner), nn.Linear(inner, config.dim))

    def forward(
        self,
        image: Float[Tensor, "batch features"] | None,
        caption: Float[Tensor, "batch token word"] | None,
        batch: int | torch.SymInt,
    ) -> Float[Tensor, "batch dim"]:
        """Predict.

        Args:
            image: pooled features, then the cells' one after the other; None where it is not seen.
            caption: as `WordEmbeddings` gives it; None hides it whole.
            batch: samples; a symbol while the model is exported.
        """
        tokens = [self.query.expand(batch, -1, -1)]
        ignored = [self.query.new_zeros(batch, 1, dtype=torch.bool)]
        if image is not None:
            pooled, cells = image[:, : self._pooled], image[:, self._pooled :].unflatten(1, (self._cells, -1))
            tokens += [self.whole(pooled)[:, None], self.cell(cells) + self.place]
            ignored += [ignored[0], self._dropped(batch)]
        if caption is not None:
            kind, words = caption[..., -1], self.word(caption[..., :-1])
            words = torch.where((kind == MASKED)[..., None], self.mask, words)
            tokens.append(words + self.order[:, : words.shape[1]])
            ignored.append(kind == ABSENT)
        seen = self.layers(torch.cat(tokens, dim=1), src_key_padding_mask=torch.cat(ignored, dim=1))
        prediction: Tensor = self.out(seen[:, 0])
        return prediction if image is None else prediction + self.direct(pooled)

    def _dropped(self, batch: int | torch.SymInt) -> Tensor:
        shape = (batch, self._cells)
        if not self.training or self._cell_dropout == 0:
            return torch.zeros(shape, dtype=torch.bool, device=self.query.device)
        return torch.rand(shape, device=self.query.device) < self._cell_dropout
