"""Few pairs: the closed formula and trained heads on draws of the training images, measured on all of test.

    python studies/few_pairs.py DATA --text FOLDER --image FOLDER [--work FOLDER]

Writes the table of docs/choosing.md. What is finished under --work is not done again.
"""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
from cyclopts import App, Parameter
from results import ROOT, fill

from pairjepa.config.recipes import recipe
from pairjepa.config.settings import DataConfig
from pairjepa.evaluation.evaluate import evaluate
from pairjepa.evaluation.tables import markdown
from pairjepa.pairs.table import Pairs, open_pairs
from pairjepa.training.train import train as train_run
from pairjepa.util.tables import write_table

SETS = ((2000, 1), (500, 5))
"""Training images, and captions of each at the most."""
app = App(help_format="plaintext")


def drawn(pairs: Pairs, images: int, captions: int, seed: int, path: Path) -> Path:
    """A table of some training images with some of their captions; dev and test are whole."""
    rng = np.random.default_rng(seed)
    columns = pairs.table.select(["path", "captions", "split"]).to_pylist()
    train = [row for row in columns if row["split"] == "train"]
    chosen = [train[place] for place in rng.choice(len(train), images, replace=False)]
    for row in chosen:
        row["captions"] = rng.permutation(row["captions"])[:captions].tolist()
    rows = chosen + [row for row in columns if row["split"] in ("dev", "test")]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(pa.Table.from_pylist(rows).rename_columns(["image", "caption", "split"]), path)
    return path


@app.default
def study(
    data: str,
    /,
    *,
    text: str,
    image: str,
    draws: int = 3,
    work: Path = Path("runs/few-pairs"),
    docs: Annotated[Path, Parameter(help="Folder of docs/.")] = ROOT,
) -> None:
    """Measure and write."""
    pairs = open_pairs(DataConfig(source=data))
    recipes = ("closed-form", "contrastive")
    rows = [["training images, captions of each", *(f"{name}, corrected rsum" for name in recipes)]]
    for images, captions in SETS:
        found: dict[str, list[str]] = {name: [] for name in recipes}
        for seed in range(draws):
            folder = work / f"{images}-{captions}-{seed}"
            source = folder / "pairs.parquet"
            if not source.is_file():
                drawn(pairs, images, captions, seed, source)
            for name in recipes:
                given = {"data.source": str(source), "model.image": image, "model.text": text}
                train_run(recipe(name, given), None, folder / name)
                found[name].append(f"{evaluate(folder / name, 'test')['corrected']['rsum']:.1f}")
        rows.append([f"{images:,}, {captions}", *(", ".join(of) for of in found.values())])
    fill(docs / "docs" / "choosing.md", "few pairs", markdown(rows))


if __name__ == "__main__":
    sys.exit(app())
