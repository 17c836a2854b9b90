"""Forward a frozen backbone over all images or captions, once, into the cache.

Axes: `batch`, `view`, `size` = side of the input in pixels, `width` = features.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image
from torch import Tensor, nn

from pairjepa.config import View
from pairjepa.errors import PairJEPAError
from pairjepa.features.allocator import keep_freed_memory
from pairjepa.features.cache import FeatureStore, FeatureTable
from pairjepa.features.image_backbone import ImageBackbone
from pairjepa.features.masking import Masking
from pairjepa.features.text_backbone import TextBackbone
from pairjepa.files import digest
from pairjepa.progress import Progress, progress, say

IMAGE_SHARD, IMAGE_BATCH = 512, 16
TEXT_SHARD, TEXT_BATCH = 4096, 64
AHEAD = 4 * IMAGE_BATCH
"""Images that are decoded before the backbone asks for them."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@runtime_checkable
class Images(Protocol):
    """What is needed of `Pairs`."""

    @property
    def n_images(self) -> int:
        """Number of images."""

    @property
    def names(self) -> Sequence[str]:
        """Their names, for errors."""

    def image(self, row: int) -> Image.Image:
        """The picture of a row: RGB, upright. Called from several threads."""


@runtime_checkable
class Facts(Protocol):
    """What is needed of `ImageFacts`."""

    @property
    def digest(self) -> Any:
        """For each image the digest of its bytes."""


def image_features(
    backbone: ImageBackbone, pairs: Images, facts: Facts, views: Sequence[View], cache: Path
) -> FeatureTable:
    """Features of all images of `pairs` in all `views`: (images, views, width), kept in `cache`.

    Images of the same bytes are forwarded once. Stopped at any moment and called again, it goes on, and ends with
    the same bits: what is missing is computed in the same shards and batches.

    Raises:
        PairJEPAError: an image cannot be read any more, features are not finite, or the cache cannot be written.
    """
    keys = [str(facts.digest[row]) for row in range(pairs.n_images)]
    rows = {key: row for row, key in reversed(list(enumerate(keys)))}  # the first of equal images

    def forward(items: Sequence[str], bar: Progress) -> np.ndarray:
        features = np.empty((len(items), len(views), backbone.width), np.float32)
        with closing(_ahead(lambda item: _prepare(backbone, pairs, rows[item], views), items)) as prepared:
            for start in range(0, len(items), IMAGE_BATCH):
                pixels = np.stack([next(prepared) for _ in items[start : start + IMAGE_BATCH]])
                for v in range(len(views)):
                    batch = torch.from_numpy(np.ascontiguousarray(pixels[:, v])).to(_device(backbone))
                    features[start : start + len(pixels), v] = _numbers(backbone(backbone.normalise(batch)))
                bar.advance(len(pixels))
        return features

    made_of = {"kind": "image", "backbone": backbone.digest, "views": list(views)}
    store = FeatureStore(cache, made_of, (len(views), backbone.width))
    return _fill(store, keys, IMAGE_SHARD, backbone, forward, "image")


def text_features(backbone: TextBackbone, captions: Iterable[Any], cache: Path) -> FeatureTable:
    """Features of all captions: (captions, width), kept in `cache`.

    Identical captions are forwarded once; goes on where it was stopped, as `image_features` does.

    Args:
        backbone: the text model.
        captions: strings, or an Arrow array of them.
        cache: root of the cache.

    Raises:
        PairJEPAError: features are not finite, or the cache cannot be written.
    """
    texts = [str(caption) for caption in captions]
    keys = [digest(text.encode()) for text in texts]
    text_of = dict(zip(keys, texts, strict=True))

    def forward(items: Sequence[str], bar: Progress) -> np.ndarray:
        ids = backbone.tokenize([text_of[item] for item in items])
        features = _by_length(backbone, ids)
        bar.advance(len(items))
        return features

    store = FeatureStore(cache, {"kind": "text", "backbone": backbone.digest}, (backbone.width,))
    return _fill(store, keys, TEXT_SHARD, backbone, forward, "text")


def masked_text_features(
    backbone: TextBackbone, captions: Iterable[Any], masking: Masking, masks: int, cache: Path
) -> FeatureTable:
    """Features of all captions under a fixed pool of masks: (captions, masks, width), kept in `cache`.

    The masks of a caption depend on its tokens alone, so that equal captions share them and runs of any seed reuse
    them.

    Args:
        backbone: the text model.
        captions: strings, or an Arrow array of them.
        masking: which tokens are hidden.
        masks: size of the pool.
        cache: root of the cache.

    Raises:
        PairJEPAError: as `text_features`; or the tokenizer has no mask token.
    """
    texts = [str(caption) for caption in captions]
    keys = [digest(text.encode()) for text in texts]
    text_of = dict(zip(keys, texts, strict=True))
    mask_id = backbone.tokenizer.mask_token_id

    def forward(items: Sequence[str], bar: Progress) -> np.ndarray:
        tokens = backbone.tokenize_words([text_of[item] for item in items])
        ids = [masking.masked(caption, str(mask), mask_id) for caption in tokens for mask in range(masks)]
        features = _by_length(backbone, ids)
        bar.advance(len(items))
        return features.reshape(len(items), masks, -1)

    made_of = {"kind": "masked text", "backbone": backbone.digest, "masking": asdict(masking), "masks": masks}
    store = FeatureStore(cache, made_of, (masks, backbone.width))
    return _fill(store, keys, TEXT_SHARD // masks, backbone, forward, "masked text")


def _by_length(backbone: TextBackbone, ids: list[list[int]]) -> Float32[np.ndarray, "caption feature"]:
    """Features of tokenised captions; those of a batch are about equally long, which saves padding."""
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    features = np.empty((len(ids), backbone.width), np.float32)
    for start in range(0, len(ids), TEXT_BATCH):
        chosen = order[start : start + TEXT_BATCH]
        input_ids, mask = (t.to(_device(backbone)) for t in backbone.collate([ids[i] for i in chosen]))
        features[chosen] = _numbers(backbone(input_ids, mask))
    return features


def _fill(
    store: FeatureStore,
    keys: list[str],
    shard: int,
    backbone: nn.Module,
    forward: Callable[[Sequence[str], Progress], Float32[np.ndarray, "item ..."]],
    kind: str,
) -> FeatureTable:
    """Compute what is missing, shard by shard in the order of `keys`, and give the rows of all."""
    label, unit = f"{kind} features", "images" if kind == "image" else "captions"
    distinct = list(dict.fromkeys(keys))
    missing = [key for key in distinct if key not in store]
    if len(missing) < len(distinct):
        cached = f"{len(distinct) - len(missing):,}" + (f" of {len(distinct):,}" if missing else "")
        say(f"{label}: {cached} cached")
    if missing:
        with _forwarding(backbone), progress(label, len(missing), unit) as bar:
            for start in range(0, len(missing), shard):
                items = missing[start : start + shard]
                if store.has_shard(items):
                    bar.advance(len(items))
                    continue
                features = forward(items, bar)
                if not np.isfinite(features).all():
                    raise PairJEPAError(
                        f"The {kind} backbone gives features that are not finite numbers. "
                        f"Its weights or its preprocessing are damaged: choose another model.{kind}."
                    )
                store.write(items, features)
    return store.table(keys)


@contextmanager
def _forwarding(backbone: nn.Module) -> Iterator[None]:
    """The backbone in evaluation mode, on the GPU if there is one, in full float32; afterwards as it was."""
    keep_freed_memory()
    training, home = backbone.training, _device(backbone)
    backbone.eval().to("cuda" if torch.cuda.is_available() else home)
    # TensorFloat-32 would cost three digits, and cuDNN's choice of algorithm the equality of two runs.
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    try:
        with torch.inference_mode(), exact:
            yield
    finally:
        backbone.train(training).to(home)


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def _numbers(features: Tensor) -> Float32[np.ndarray, "batch width"]:
    return features.float().cpu().numpy()


def _prepare(backbone: ImageBackbone, pairs: Images, row: int, views: Sequence[View]) -> np.ndarray:
    """All views of one image, (view, size, size, 3); decoded once, and resized once for a view and its mirror."""
    try:
        image = pairs.image(row)
    except (PairJEPAError, OSError) as error:
        raise PairJEPAError(
            f"Image {pairs.names[row]} could be read when the images were counted and cannot now: {error}. "
            "Put it back, or run the same command again to leave it out."
        ) from None
    plain: dict[str, np.ndarray] = {}
    prepared = []
    for view in views:
        base: Any = view.removesuffix("-mirrored")
        if base not in plain:
            plain[base] = backbone.prepare(image, base)
        prepared.append(plain[base] if base == view else plain[base][:, ::-1])
    return np.stack(prepared)


def _ahead(work: Callable[[Item], Result], items: Sequence[Item]) -> Generator[Result, None, None]:
    """`map(work, items)`, in a few threads, at most `AHEAD` results before they are asked for."""
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
