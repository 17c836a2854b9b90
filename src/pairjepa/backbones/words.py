"""Partly masked captions word by word, for a predictor over tokens.

Axes: `batch`, `token` = positions of the longest caption of the batch, `width` = word embeddings.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pairjepa.backbones.text import TextBackbone

ABSENT, VISIBLE, MASKED = 0.0, 1.0, 2.0


class WordEmbeddings(nn.Module):
    """The word embeddings of a text backbone, frozen: the lowest layer, which knows nothing of the hidden words.

    A position's features are its embedding, zero where it is masked, followed by what the position is: `ABSENT`
    (padding and special tokens), `VISIBLE` or `MASKED`.
    """

    table: Tensor

    def __init__(self, text: TextBackbone) -> None:
        """Share the table of `text`; nothing is copied."""
        super().__init__()
        self.register_buffer("table", text.model.get_input_embeddings().weight.detach(), persistent=False)  # type: ignore[operator]
        self._mask = -1 if text.tokenizer.mask_token_id is None else text.tokenizer.mask_token_id
        self._special = [
            i for i in text.tokenizer.all_special_ids if i not in (self._mask, text.tokenizer.unk_token_id)
        ]

    @property
    def width(self) -> int:
        """Features of a position."""
        return self.table.shape[1] + 1

    def forward(
        self, input_ids: Int[Tensor, "batch token"], attention_mask: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token width"]:
        """Embed collated captions."""
        specials = torch.tensor(self._special, device=input_ids.device)
        special = (input_ids[..., None] == specials).any(-1)  # torch.isin cannot be exported to ONNX
        masked = input_ids == self._mask
        kind = torch.where(masked, MASKED, VISIBLE).masked_fill(special | (attention_mask == 0), ABSENT)
        words = self.table[input_ids] * (kind == VISIBLE)[..., None]
        return torch.cat([words, kind[..., None]], dim=2)
