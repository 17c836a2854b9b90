"""What each choice of the masked approach is worth on dev: one change to the recipe `masked` at a time.

    python studies/choices.py DATA --model.image IMG --model.text TXT [--seeds 2]

Writes docs/choices.json and the table between the markers of docs/masked.md. What is finished under --work is not
done again. Only dev is measured: these numbers choose, `studies/results.py` reports.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cyclopts import App
from results import ROOT, fill

from pairjepa.backbones.encoders import load_backbones
from pairjepa.cli.flags import given_settings, settings, with_flags
from pairjepa.config.recipes import override, recipe
from pairjepa.embedder.embedder import Embedder
from pairjepa.evaluation.evaluate import queries
from pairjepa.evaluation.tables import markdown
from pairjepa.metrics.partial import evaluate_partial, shuffled_images
from pairjepa.pairs.data import read_data
from pairjepa.pairs.table import open_pairs
from pairjepa.run.folder import RunFolder
from pairjepa.training.material import Material
from pairjepa.training.train import fit_material
from pairjepa.util.files import read_json, write_json
from pairjepa.util.progress import say

EPOCHS = 15  # of every run, unless the command says otherwise
RATIOS = (0.3, 0.6, 0.9)
CHOICES: dict[str, dict[str, Any]] = {
    "the recipe: residual predictor, 4 masks of tokens, 0.6 hidden whole": {},
    "predictor: linear": {"model.predictor.kind": "linear"},
    "predictor: mlp with BatchNorm (the reference's)": {"model.predictor.kind": "mlp"},
    "predictor: transformer over a 4 x 4 grid and words": {
        "model.predictor.kind": "transformer",
        "model.predictor.hidden_dim": 256,
        "model.predictor.input_dropout": 0.5,
        "model.predictor.dropout": 0.1,
        "model.image_grid": 4,
    },
    "1 mask a caption": {"context.masks": 1},
    "2 masks a caption": {"context.masks": 2},
    "masks of spans": {"context.caption": "spans"},
    "masks of words": {"context.caption": "words"},
    "masks of content words": {"context.caption": "content"},
    "0.3 hidden whole": {"context.full_mask_prob": 0.3},
    "0.9 hidden whole": {"context.full_mask_prob": 0.9},
    "target slow": {"context.target": "slow"},
    "target frozen": {"context.target": "frozen"},
    "target a moving average": {
        "context.target": "ema",
        "model.caption_projection.kind": "residual",
        "model.caption_projection.dropout": 0.2,
    },
    "cosine + 0.1 InfoNCE": {"objective.weights": {"cosine": 1.0, "info_nce": 0.1}},
    "InfoNCE + VICReg's variance and covariance": {
        "objective.weights": {"info_nce": 1.0, "vicreg_variance": 0.1, "vicreg_covariance": 0.01}
    },
    "InfoNCE + SIGReg": {"objective.weights": {"info_nce": 1.0, "sigreg": 1.0}},
}


def choices(data: str, /, *, seeds: int = 2, work: Path = Path("runs/choices"), **given: Any) -> None:
    """Train and measure every choice, and write the table."""
    shared = {"training.epochs": EPOCHS, "data.source": data, **given_settings(given)}
    pairs = open_pairs(recipe("masked", shared).data)
    found = {}
    for number, (name, values) in enumerate(CHOICES.items()):
        one = []
        for seed in range(seeds):
            config = override(recipe("masked", shared | values), {"training.seed": seed})
            config.validate()
            path = work / f"{number}" / f"seed-{seed}"
            say(f"{name}, seed {seed}:")
            one.append(_measured(config, pairs, path))
        found[name] = {
            key: {"mean": float(np.mean(v)), "sd": float(np.std(v, ddof=1)) if seeds > 1 else None}
            for key in one[0]
            if (v := [each[key] for each in one])
        }
        record = {
            "seeds": seeds,
            "epochs": shared["training.epochs"],
            "split": "dev",
            "data": pairs.description,
            "choices": found,
        }
        write_json(
            ROOT / "docs" / "choices.json", record
        )  # after each: an interrupted study shows what it has
        fill(ROOT / "docs" / "masked.md", "choices", table(record))


def table(record: dict[str, Any]) -> str:
    """A row a choice."""
    names = {
        "rsum": "image-only rsum",
        **{f"R@1 {r}": f"R@1, {r:.0%} hidden" for r in RATIOS},
        "seconds": "seconds",
    }
    rows = [["dev", *names.values()]]
    for choice, numbers in record["choices"].items():
        cells = [numbers[key] for key in names]
        rows.append(
            [
                choice,
                *(f"{c['mean']:.1f}" + (f" ± {c['sd']:.1f}" if c["sd"] is not None else "") for c in cells),
            ]
        )
    said = (
        f"{record['data']}; mean ± standard deviation over {record['seeds']} seeds, {record['epochs']} epochs each, "
        "measured on dev."
    )
    return f"{markdown(rows)}\n\n{said}"


def _measured(config: Any, pairs: Any, path: Path) -> dict[str, float]:
    kept = path / "measured.json"
    image, text = load_backbones(config, pairs.captions_of("train").to_pylist(), path)
    material = Material(config, read_data(pairs, config.data.max_bad), image, text)
    folder: RunFolder = fit_material(material, path)
    summary = folder.summary
    assert summary is not None
    if kept.is_file() and (before := read_json(kept, "Measurements")).get("weights") == folder.weights:
        return dict(before["found"])
    embedder = Embedder.of(folder, image, text)
    found = {"rsum": summary["dev_rsum"], "seconds": summary["cost"]["training_seconds"]}
    _, _, owner = material.rows("dev")
    images = len(np.unique(owner))
    other = shuffled_images(images)[owner]
    for ratio in RATIOS:
        seen, shuffled = queries(embedder, material, "dev", ratio, [owner, other])
        result = evaluate_partial(seen, shuffled, None, owner, images, draws=10)
        found |= {f"R@1 {ratio}": result["R@1"], f"shuffled R@1 {ratio}": result["shuffled"]["R@1"]}
    write_json(kept, {"weights": embedder.weights, "found": found})
    return found


app = App(name="choices.py", help_format="plaintext", result_action="return_value", version_flags=())
app.default(with_flags(choices, [s for s in settings(recipe("masked")) if s.name != "data.source"]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    app(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
