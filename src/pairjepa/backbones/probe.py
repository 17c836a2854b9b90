"""A check that a backbone is a function of its input alone, before anything is trained on it.

Not every one is: ViTMAE hides patches at random in use, FNet ignores the attention mask, ConvBERT mixes padding into
its neighbours, and position 0 of a causal model is the same for every caption.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from pairjepa.backbones.image import ImageBackbone
from pairjepa.backbones.text import TextBackbone
from pairjepa.util.errors import PairJEPAError, first_line, hindrance
from pairjepa.util.progress import say

EQUAL = 1e-4
"""Features of one input may differ by this share of their norm: rounding is some 1e-6 of it."""
DIFFERENT = 1e-6
"""Features of two captions must differ by more than this share."""


@contextlib.contextmanager
def usable(setting: str, name: object) -> Iterator[None]:
    """Whatever goes wrong when a loaded model is first used, as one sentence."""
    try:
        yield
    except PairJEPAError:
        raise
    except Exception as error:  # each architecture fails in its own way
        raise PairJEPAError(
            f"{setting} must be a backbone that can be used here, got {name} ({type(error).__name__}: "
            f"{first_line(error)}). {hindrance(error) or 'Choose another backbone.'}"
        ) from None


@torch.no_grad()
def check_image(backbone: ImageBackbone, setting: str, name: object) -> None:
    """Two pictures, the first of them twice: noise, so that a model that hides patches hides others each time.

    Raises:
        PairJEPAError: it cannot be used, or equal pictures differ.
    """
    with usable(setting, name):
        size = backbone.preprocessing.size
        channels = 3 * (1 + len(backbone.preprocessing.others))
        ramp = torch.linspace(0, 255, size).expand(channels, size, size).permute(1, 2, 0)
        noise = torch.rand((size, size, channels), generator=torch.Generator().manual_seed(0)) * 255
        once, again, other = backbone(backbone.normalise(torch.stack([noise, noise, ramp]).to(torch.uint8)))
    if _difference(once, again) > EQUAL:
        raise _refused(setting, "give the same features for the same picture", name, "draws at random in use")
    if torch.equal(once, other):  # deep CNNs before any training do so, too
        say(
            f"warning: {setting} {name} gives the same features for two pictures: its weights are damaged, or not "
            "trained. Nothing can be learned on features that are frozen so."
        )


@torch.no_grad()
def check_text(backbone: TextBackbone, setting: str, name: object) -> None:
    """Two captions that begin with the same token; the shorter twice alone and once padded beside the longer.

    Raises:
        PairJEPAError: the features depend on chance or on padding, or are the same for both.
    """
    with usable(setting, name):
        captions = _captions(backbone)
        if captions is None:
            return
        short, _ = captions
        once, again = (backbone(*backbone.collate([short]))[0] for _ in range(2))
        padded, other = backbone(*backbone.collate(captions))
    if _difference(once, again) > EQUAL:
        raise _refused(setting, "give the same features for the same caption", name, "draws at random in use")
    if _difference(once, padded) > EQUAL:
        raise _refused(setting, "ignore padding", name, "changes a caption beside a longer one")
    if _difference(padded, other) < DIFFERENT:
        raise _refused(setting, "tell two captions apart", name, "gives equal features", backbone.pooling)


def _captions(backbone: TextBackbone) -> list[list[int]] | None:
    """Token ids of a short and a longer caption, of words that the tokenizer knows; None where there are too few."""
    tokenizer = backbone.tokenizer
    special = tokenizer("")["input_ids"]
    start = 1 if special and special[0] in (tokenizer.bos_token_id, tokenizer.cls_token_id) else 0
    size = min(len(tokenizer), getattr(backbone.model.config, "vocab_size", len(tokenizer)))
    words = [i for i in range(max(0, size - 50), size) if i not in tokenizer.all_special_ids]
    words = words[: min(10, backbone.max_tokens - len(special))]
    if len(words) < 3:
        return None
    return [
        [*special[:start], *content, *special[start:]]
        for content in (words[:2], [words[0], *reversed(words[1:])])
    ]


def _difference(first: Tensor, second: Tensor) -> float:
    """Length of the difference as a share of the first one's; not a number counts as all of it."""
    if torch.equal(first, second):
        return 0.0
    share = float((first - second).double().norm() / first.double().norm())
    return share if share == share else 1.0


def _refused(setting: str, rule: str, name: object, fault: str, pooling: str = "") -> PairJEPAError:
    advice = (
        "Take --model.text-pooling mean: position 0 of a causal model has seen no other token."
        if pooling == "cls"
        else "Choose another backbone."
    )
    return PairJEPAError(f"{setting} must {rule}, got {name}, which {fault}. {advice}")
