"""A small CLIP of the program's own, adapted to pairs of a shifted world: for the demo.

The shifted world has other colours (the channels of each picture change places), sizes (three quarters of each side)
and words (each of the two words of a swap means the other one).
"""

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image, ImageOps

from pairjepa.config.recipes import recipe
from pairjepa.pairs.images import decode
from pairjepa.pairs.sources.shapes import draw
from pairjepa.util.tables import write_table

SWAPS = (
    ("red", "cyan"),
    ("green", "brown"),
    ("blue", "orange"),
    ("circle", "star"),
    ("square", "cross"),
    ("white", "pink"),
)
_OTHER = {old: new for one, two in SWAPS for old, new in ((one, two), (two, one))}
SPLITS = {"train": 300, "dev": 100, "test": 300}
"""Images of the shifted world."""
CLIP = {
    "data.source": "shapes:2000",
    "training.epochs": 26,
    "training.batch_size": 64,
    "training.learning_rate": 1e-3,
    "training.warmup": 0.15,
}
"""The small CLIP's own training; in small batches, as it needs steps more than passes."""


def small_clip(folder: Path) -> Path:
    """The folder of a `CLIPModel` of 64 pixels that was trained on `shapes` from random weights; made once.

    Args:
        folder: of that folder and what it is made from.
    """
    pair = folder / "pair"
    if pair.is_dir():
        return pair
    from pairjepa.apps.export import export
    from pairjepa.training.train import train

    both = str(towers(folder / "towers"))
    given: dict[str, Any] = {f"model.{side}": both for side in ("image", "text")}
    given |= {f"model.{side}_weights": "random" for side in ("image", "text")}
    bare = {"model.image_stages": (-1,), "model.text_layers": (-1,), "model.text_pooling": "last"}
    given |= {**bare, "model.dim": 64, **CLIP}
    train(recipe("tiny", given), None, folder / "clip")
    return export(folder / "clip", "clip", pair)


def towers(folder: Path) -> Path:
    """Write configuration, tokenizer and image processor of a CLIP of 64 pixels, without weights."""
    from transformers import CLIPConfig, CLIPImageProcessorPil

    from pairjepa.backbones.tiny import train_tokenizer

    tokenizer = train_tokenizer([caption for index in range(500) for caption in draw(0, index)[1]])
    size = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id, "pad_token_id": 0}
    text = size | ids | {"vocab_size": len(tokenizer), "max_position_embeddings": 32}
    vision = size | {"image_size": 64, "patch_size": 16}
    CLIPConfig(text_config=text, vision_config=vision).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(size={"height": 64, "width": 64}, do_center_crop=False).save_pretrained(folder)
    return folder


def shifted(path: Path) -> Path:
    """The pairs of the shifted world as a table; made once."""
    if path.is_file():
        return path
    rows: dict[str, list[Any]] = {"image": [], "caption": [], "split": []}
    for index, split in enumerate([name for name, count in SPLITS.items() for _ in range(count)]):
        data, captions = draw(1000, index)
        red, green, blue = decode(data).split()
        picture = Image.merge("RGB", (green, blue, red))
        corner: Any = picture.getpixel((0, 0))
        file = io.BytesIO()
        ImageOps.expand(picture.resize((48, 48)), 8, corner).save(file, "PNG")
        rows["image"].append(file.getvalue())
        rows["caption"].append([" ".join(_OTHER.get(w, w) for w in one.split()) for one in captions])
        rows["split"].append(split)
    write_table(pa.table(rows), path)
    return path
