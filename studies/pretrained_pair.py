"""A pretrained pair adapted to a shifted world, with what is gained there and what is lost at home.

    python studies/pretrained_pair.py [--seeds 3] [--out FOLDER]

For each seed: a small CLIP is trained from random weights on `shapes` and exported (`export --to clip`). The shifted
world has other colours (the channels of each picture change places), sizes (three quarters of each side), and words
(each of the known words of a swap means the other one). `adapt` learns it from 300 pairs. Writes
docs/pretrained-pair.json.
"""

import argparse
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageOps

import pairjepa
from pairjepa.apps.export import export
from pairjepa.backbones.tiny import train_tokenizer
from pairjepa.config.settings import DataConfig
from pairjepa.evaluation.tables import markdown
from pairjepa.pairs.sources.shapes import draw

DOCS = Path(__file__).parent.parent / "docs"
HOME = "shapes:2000"
SPLITS = {"train": 300, "dev": 100, "test": 300}
SWAPS = (
    ("red", "cyan"),
    ("green", "brown"),
    ("blue", "orange"),
    ("circle", "star"),
    ("square", "cross"),
    ("white", "pink"),
)
OTHER = {old: new for one, two in SWAPS for old, new in ((one, two), (two, one))}


def towers(folder: Path) -> Path:
    """A CLIP of 64 pixels without weights: configuration, tokenizer, image processor."""
    from transformers import CLIPConfig, CLIPImageProcessorPil

    captions = [caption for index in range(500) for caption in draw(0, index)[1]]
    tokenizer = train_tokenizer(captions)
    size = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id, "pad_token_id": 0}
    text = size | ids | {"vocab_size": len(tokenizer), "max_position_embeddings": 32}
    vision = size | {"image_size": 64, "patch_size": 16}
    CLIPConfig(text_config=text, vision_config=vision).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(size={"height": 64, "width": 64}, do_center_crop=False).save_pretrained(folder)
    return folder


def shifted(path: Path, seed: int) -> Path:
    """The pairs of the shifted world as a table."""
    rows: dict[str, list[Any]] = {"image": [], "caption": [], "split": []}
    splits = [name for name, count in SPLITS.items() for _ in range(count)]
    for index, split in enumerate(splits):
        data, captions = draw(1000 + seed, index)
        red, green, blue = Image.open(io.BytesIO(data)).convert("RGB").split()
        picture = Image.merge("RGB", (green, blue, red))
        corner: Any = picture.getpixel((0, 0))
        small = ImageOps.expand(picture.resize((48, 48)), 8, corner)
        file = io.BytesIO()
        small.save(file, "PNG")
        rows["image"].append(file.getvalue())
        rows["caption"].append([" ".join(OTHER.get(w, w) for w in one.split()) for one in captions])
        rows["split"].append(split)
    pq.write_table(pa.table(rows), path)
    return path


def measured(folder: Path, seed: int, epochs: int) -> dict[str, Any]:
    """One seed: rsum on test of chance, the pretrained and the adapted pair, there and at home."""
    base = folder / "towers"
    if not base.is_dir():
        towers(base)
    random = {f"model.{side}_weights": "random" for side in ("image", "text")}
    bare = {"model.image_stages": (-1,), "model.text_layers": (-1,), "model.text_pooling": "last"}
    given: dict[str, Any] = {
        "model.image": str(base),
        "model.text": str(base),
        "data.source": HOME,
        **random,
        **bare,
    }
    given |= {
        "training.seed": seed,
        "training.epochs": epochs,
        "training.learning_rate": 1e-3,
        "model.dim": 64,
    }
    run, pair = folder / f"clip-{seed}", folder / f"pair-{seed}"
    pairjepa.train(pairjepa.recipe("tiny", given), None, run)
    export(run, "clip", pair)
    world = shifted(folder / f"shifted-{seed}.parquet", seed)
    settings: dict[str, Any] = {
        "data.source": str(world),
        "model.pair": str(pair),
        "training.seed": seed,
    }
    adapted = folder / f"adapt-{seed}"
    pairjepa.train(pairjepa.recipe("adapt", settings), None, adapted)
    results = {
        "shifted": pairjepa.evaluate(adapted, "test"),
        "home": pairjepa.evaluate(adapted, "test", data=DataConfig(HOME)),
    }
    return {
        where: {
            "chance": result["baselines"]["chance"]["rsum"],
            "pretrained": result["baselines"]["pretrained"]["rsum"],
            "adapted": result["rsum"],
            "gain": result["beats_pretrained"]["rsum_difference"],
            "ci": result["beats_pretrained"]["ci"],
        }
        for where, result in results.items()
    } | {"adapter_scale": _scale(adapted)}


def _scale(run: Path) -> float:
    return float(json.loads((run / "summary.json").read_text())["adapter_scale"])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=100, help="of the CLIP's own training")
    parser.add_argument("--out", type=Path, default=Path("runs/pretrained-pair"))
    given = parser.parse_args()
    seeds = [measured(given.out, seed, given.epochs) for seed in range(given.seeds)]
    rows = [["rsum, test", "chance", "pretrained", "adapted", "gained (95 % interval)"]]
    for where in ("shifted", "home"):
        for number, seed in enumerate(seeds):
            one = seed[where]
            cells = [f"{one[name]:.1f}" for name in ("chance", "pretrained", "adapted")]
            rows.append(
                [
                    f"{where}, seed {number}",
                    *cells,
                    f"{one['gain']:+.1f} ({one['ci'][0]:+.1f} to {one['ci'][1]:+.1f})",
                ]
            )
    print(markdown(rows))
    (DOCS / "pretrained-pair.json").write_text(json.dumps({"seeds": seeds}, indent=2) + "\n")


if __name__ == "__main__":
    main()
