"""Vectors of a pretrained pair adapted to pictures of a kind that the pair has not seen, and what that costs at home.

    python studies/pretrained_pair.py DATA --text FOLDER --image FOLDER [--word dog] [--work FOLDER]

The pair is a run of `contrastive` on the images of which no caption has the word. Of those where most captions have it,
`adapt` gets the vectors of a few training images. Writes the table of docs/choosing.md. What is finished under
--work is not done again.
"""

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from cyclopts import App, Parameter
from results import ROOT, fill

from pairjepa.config.recipes import recipe
from pairjepa.config.settings import DataConfig
from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.evaluation.evaluate import evaluate
from pairjepa.evaluation.tables import markdown
from pairjepa.pairs.data import USED
from pairjepa.pairs.table import open_pairs
from pairjepa.training.train import train as train_run
from pairjepa.util.tables import write_table

IMAGES = (100, 300, 1000)
"""Training images of the new kind."""
app = App(help_format="plaintext")


def by_word(data: str, word: str, work: Path) -> tuple[Path, Path]:
    """Two tables: images of which no caption has the word, and those of which most have it; each with its split."""
    rows = open_pairs(DataConfig(data)).table.select(["path", "captions", "split"]).to_pylist()
    shares = [
        np.mean([bool(re.search(rf"\b{word}s?\b", c.lower())) for c in row["captions"]]) for row in rows
    ]
    home, away = work / "home.parquet", work / "away.parquet"
    work.mkdir(parents=True, exist_ok=True)
    for path, wanted in ((home, [share == 0 for share in shares]), (away, [share > 0.5 for share in shares])):
        table = pa.Table.from_pylist([row for row, keep in zip(rows, wanted, strict=True) if keep])
        write_table(table.rename_columns(["image", "caption", "split"]), path)
    return home, away


def vectors(run: Path, table: Path, splits: tuple[str, ...], work: Path) -> pa.Table:
    """A row for each caption: the vectors of both sides by that run, the image's name and its split."""
    parts = []
    for split in splits:
        folder = work / f"{table.stem}-{split}"
        if not folder.is_dir():
            evaluate(run, split, data=DataConfig(str(table)), export=folder)
        found = EmbeddingSet.load(folder)
        columns: dict[str, Any] = {
            "image": [found.names[row] for row in found.owner],
            "caption": list(found.captions),
            "split": [split] * len(found.owner),
            "image_embedding": list(found.image[found.owner]),
            "text_embedding": list(found.text),
        }
        parts.append(pa.table(columns))
    return pa.concat_tables(parts)


def drawn(table: pa.Table, images: int, seed: int, path: Path) -> Path:
    """Some of the training images; dev and test are whole."""
    names, splits = (np.array(table[column].to_pylist()) for column in ("image", "split"))
    train = np.unique(names[splits == "train"])
    chosen = np.random.default_rng(seed).choice(train, images, replace=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(table.filter(pa.array((splits != "train") | np.isin(names, chosen))), path)
    return path


@app.default
def study(
    data: str,
    /,
    *,
    text: str,
    image: str,
    word: str = "dog",
    draws: int = 3,
    work: Path = Path("runs/pretrained-pair"),
    docs: Annotated[Path, Parameter(help="Folder of docs/.")] = ROOT,
) -> None:
    """Measure and write."""
    home, away = by_word(data, word, work)
    pair = work / "pair"
    given = {"data.source": str(home), "model.image": image, "model.text": text}
    train_run(recipe("contrastive", given), None, pair)
    new = vectors(pair, away, USED, work)
    old = work / "old.parquet"
    write_table(vectors(pair, home, ("test",), work), old)
    rows = [
        ["training images", "as they are", "closed-form", "adapters alone", "adapt", "gained", "elsewhere"]
    ]
    for images in IMAGES:
        found, alone, elsewhere = list[dict[str, Any]](), list[dict[str, Any]](), []
        for seed in range(draws):
            source = drawn(new, images, seed, work / f"{images}-{seed}.parquet")
            settings = {"data.source": str(source), "model.pair": "vectors", "training.seed": seed}
            for runs, share, name in ((found, None, "adapt"), (alone, 0.0, "adapters")):
                run = work / f"{name}-{images}-{seed}"
                train_run(recipe("adapt", settings | {"model.closed_form_share": share}), None, run)
                runs.append(evaluate(run, "test"))
            run = work / f"adapt-{images}-{seed}"
            elsewhere.append(evaluate(run, "test", data=DataConfig(str(old))))
        before = [result["baselines"]["pretrained"] for result in found]
        gains = [result["beats_pretrained"] for result in found]
        rows.append(
            [
                f"{images:,}",
                f"{before[0]['rsum']:.1f} ({_spread(one['corrected']['rsum'] for one in before)})",
                f"({_spread(r['baselines']['cca']['corrected']['rsum'] for r in found)})",
                f"{_spread(r['rsum'] for r in alone)} ({_spread(r['corrected']['rsum'] for r in alone)})",
                f"{_spread(r['rsum'] for r in found)} ({_spread(r['corrected']['rsum'] for r in found)})",
                f"{_spread(g['rsum_difference'] for g in gains)} (> {min(g['ci'][0] for g in gains):.1f})",
                _spread(r["rsum"] for r in elsewhere),
            ]
        )
    rows[0][-1] += f" ({elsewhere[0]['baselines']['pretrained']['rsum']:.1f})"
    fill(docs / "docs" / "choosing.md", "pretrained pair", markdown(rows))


def _spread(values: Any) -> str:
    found = sorted(values)
    return f"{found[0]:.1f}–{found[-1]:.1f}"


if __name__ == "__main__":
    sys.exit(app())
