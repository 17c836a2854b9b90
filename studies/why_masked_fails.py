"""Why the reference's masked approach failed: from its set-up to ours, one change at a time.

    python studies/why_masked_fails.py DATA --model.image IMG --model.text TXT [--seeds 3] [--out docs/why-masked-fails]

Trains every step of `STEPS` on cached features, measures each, and writes OUT.json with all data, OUT.png and the
tables of OUT.md. What is finished under --work is not done again.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import reference_protocol
from cyclopts import App, CycloptsError, Parameter
from reference_protocol import CPU, contrastive_protocols, masked_protocols, whole_caption
from why_masked_fails_page import write_figure, write_page

from pairjepa.backbones.encoders import describe, load_backbones
from pairjepa.cli.flags import given_settings, settings, with_flags
from pairjepa.config.recipes import override, recipe
from pairjepa.config.settings import RunConfig
from pairjepa.metrics import RetrievalRanks, bootstrap, interval, metrics, retrieve
from pairjepa.metrics.bootstrap import difference
from pairjepa.metrics.geometry import effective_rank
from pairjepa.metrics.trees import map_leaves, mean, sd
from pairjepa.model.build import build_module
from pairjepa.model.joint import JointModel
from pairjepa.model.weights import load_weights
from pairjepa.pairs.data import read_data
from pairjepa.pairs.table import open_pairs
from pairjepa.run.folder import RunFolder
from pairjepa.training.material import Material
from pairjepa.training.monitor import Split, embed_images, embed_texts
from pairjepa.training.train import fit_material
from pairjepa.util.errors import PairJEPAError, UsageError
from pairjepa.util.files import digest, digest_file, read_json, write_json
from pairjepa.util.progress import say

SHARED = {"training.epochs": 15, "training.batch_size": 500, "context.full_mask_prob": 0.5}
"""Settings of every step, unless the command says otherwise."""
ROW_IMAGES = 4000
"""Training images that are ranked by row: with five captions each, as many pairs as the reference had."""

REPORTED = {
    "contrastive": {"R@1": 12.7, "R@5": 46.9, "R@10": 63.6},
    "masked": {"R@1": 3.0, "R@5": 8.9, "R@10": 13.4},
}
"""What the reference reported of itself, in percent."""


@dataclass(frozen=True)
class Step:
    """One training, said by what differs from another one."""

    name: str
    change: str
    """What differs, in the words of the page."""
    after: str | None
    """The step that it differs from."""
    values: dict[str, Any]
    """The settings that differ."""


START, CONTRASTIVE = "reference", "contrastive"
STEPS = (
    Step(START, "the reference's set-up", None, {}),
    Step("hidden", "half of the samples see no caption", START, {"context.full_mask_prob": 0.5}),
    Step("target", "the target learns", "hidden", {"context.target": "full"}),
    Step(
        "alignment",
        "a small alignment term beside the regression",
        "target",
        {"objective.weights": {"cosine": 1.0, "info_nce": 0.1}},
    ),
    Step("info_nce", "InfoNCE in place of both", "alignment", {"objective.weights": {"info_nce": 1.0}}),
    Step("frozen", "aside: the same, target frozen again", "info_nce", {"context.target": "frozen"}),
)
"""The steps before the last, which is the recipe `masked` itself."""
LAST = Step("ours", "our heads: residual, dropout, label smoothing", "info_nce", {})


def configurations(given: dict[str, Any]) -> dict[str, RunConfig]:
    """Every step's configuration, and that of the recipe `contrastive`, on the same features.

    Args:
        given: settings that all of them share.
    """
    ours, reference = recipe("masked", given), recipe("reference-masked").model
    heads = ("image_projection", "caption_projection", "text_projection", "predictor")
    start = replace(
        override(
            ours,
            {
                "objective.label_smoothing": 0.0,
                "objective.weights": {"cosine": 1.0},
                "context.full_mask_prob": 0.0,
                "context.target": "frozen",
            },
        ),
        model=replace(ours.model, **{name: getattr(reference, name) for name in heads}),
    )
    made = {START: start}
    for step in STEPS[1:]:
        assert step.after is not None
        made[step.name] = override(made[step.after], step.values)
    return made | {LAST.name: ours, CONTRASTIVE: recipe("contrastive", given)}


class Bench:
    """Data and cached features that all trainings share, since their backbones are frozen."""

    def __init__(self, config: RunConfig) -> None:
        """`config`: of any masked step."""
        config.validate()
        pairs = open_pairs(config.data)
        image, text = load_backbones(config, pairs.captions_of("train").to_pylist())
        self.material = Material(config, read_data(pairs, config.data.max_bad), image, text)
        self.test = self.material.split("test")
        self.rows = self.material.split("train", most=ROW_IMAGES)
        self.few = self.material.split("train", most=len(self.test.images))

    def run(self, config: RunConfig, path: Path) -> tuple[RunFolder, JointModel]:
        """The complete run at `path`, trained as far as it is not, and its best epoch's heads."""
        config.validate()
        material = self.material.apart(config)
        folder = fit_material(material, path)
        module = build_module(config, material.image, material.text)
        load_weights(module, folder.model_file)
        joint = module.eval()["joint"]
        assert isinstance(joint, JointModel)
        return folder, joint

    def measured(self, name: str, folder: RunFolder, joint: JointModel) -> dict[str, Any]:
        """What the study shows of one run: from its `measured.json`, if weights and protocols are the same."""
        key = digest(folder.weights, digest_file(Path(reference_protocol.__file__)))
        path = folder.path / "measured.json"
        if path.is_file() and (kept := read_json(path, "Measurements"))["key"] == key:
            return kept
        image, text = embed_images(joint, self.test.images, CPU), embed_texts(joint, self.test.texts, CPU)
        ranks = retrieve(image, text, self.test.owner)
        found: dict[str, Any] = {
            "key": key,
            "ranks": {
                "image_to_text": ranks.image_to_text.tolist(),
                "text_to_image": ranks.text_to_image.tolist(),
            },
            "effective_rank": {"prediction": effective_rank(image), "target": effective_rank(text)},
        }
        if name == CONTRASTIVE:
            found["protocols"] = contrastive_protocols(joint, self.rows, self.test)
        else:
            found["whole_caption"] = whole_caption(joint, self.test)
        if name == START:
            found["protocols"] = masked_protocols(joint, self.rows, self.few, self.test)
        write_json(path, found)
        return found

    def about(self, seeds: int, config: RunConfig) -> dict[str, Any]:
        """What the numbers were measured on; no path, so that the page is the same wherever it was made."""
        record = self.material.data.record
        backbones = {
            side: {"name": Path(about["source"]).name, "digest": about["digest"], "width": about["width"]}
            for side, about in describe(config, self.material.image, self.material.text).items()
        }
        return {
            "data": {key: record[key] for key in ("description", "generated", "splits", "digest")},
            "backbones": backbones,
            "seeds": seeds,
            "epochs": config.training.epochs,
            "batch_size": config.training.batch_size,
            "row_pairs": len(self.rows.owner),
            "row_images": len(self.rows.images),
        }


def study(given: dict[str, Any], seeds: int, work: Path) -> dict[str, Any]:
    """Train and measure everything; the content of OUT.json."""
    configs = configurations(SHARED | given)
    bench = Bench(configs[LAST.name])
    found: dict[str, list[dict[str, Any]]] = {}
    curves: dict[str, list[list[float]]] = {}
    for name, config in configs.items():
        first = config.training.seed
        for seed in range(first, first + seeds):
            say(f"{name}, seed {seed}:")
            folder, joint = bench.run(override(config, {"training.seed": seed}), work / name / f"seed-{seed}")
            found.setdefault(name, []).append(bench.measured(name, folder, joint))
            curves.setdefault(name, []).append([epoch["dev"]["rsum"] for epoch in folder.metrics()])
    results = {name: summary(measured, bench.test) for name, measured in found.items()}
    steps = [
        step_record(step, configs[step.name], results, np.mean(curves[step.name], axis=0).tolist())
        for step in (*STEPS, LAST)
    ]
    return {
        "about": bench.about(seeds, configs[LAST.name]),
        "reported": REPORTED,
        "steps": steps,
        "masked_protocols": protocols(found[START]),
        "contrastive": {"test": results[CONTRASTIVE]["test"], "protocols": protocols(found[CONTRASTIVE])},
    }


def summary(measured: Sequence[dict[str, Any]], test: Split) -> dict[str, Any]:
    """One step over its seeds: means, spread, and the interval by image of the mean over seeds."""
    ranks = [
        RetrievalRanks(
            np.array(one["ranks"]["image_to_text"]), np.array(one["ranks"]["text_to_image"]), test.owner
        )
        for one in measured
    ]
    values = [metrics(one) for one in ranks]
    # the resamples are the same for every seed, so their mean is a resample of the mean
    samples = map_leaves(lambda *draws: np.mean(draws, axis=0), *(bootstrap(one) for one in ranks))
    result = {
        "samples": samples,
        "test": {"mean": mean(values), "sd": sd(values), "ci": map_leaves(interval, samples)},
        "effective_rank": mean([one["effective_rank"] for one in measured]),
    }
    if "whole_caption" in measured[0]:
        result["whole_caption"] = mean([one["whole_caption"] for one in measured])
    return result


def step_record(
    step: Step, config: RunConfig, results: dict[str, dict[str, Any]], curve: list[float]
) -> dict[str, Any]:
    """One row of the ladder: the step, its numbers, and the paired difference to the step that it follows."""
    own = results[step.name]
    gain = None
    if step.after is not None:
        other = results[step.after]
        gain = difference(own["test"]["mean"], other["test"]["mean"], own["samples"], other["samples"])
    return {
        "name": step.name,
        "change": step.change,
        "after": step.after,
        "settings": {key: config.to_dict()[key] for key in ("context", "objective")}
        | {
            "model": {
                k: v for k, v in config.to_dict()["model"].items() if k.endswith(("projection", "predictor"))
            }
        },
        **{key: value for key, value in own.items() if key != "samples"},
        "gain": gain,
        "dev_rsum_by_epoch": curve,
    }


def protocols(measured: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each protocol's recalls over the seeds, in the order in which they were measured."""
    return [
        {"name": name, "mean": mean(values), "sd": sd(values)}
        for name in measured[0]["protocols"]
        if (values := [one["protocols"][name] for one in measured])
    ]


app = App(name="why_masked_fails.py", help_format="plaintext", result_action="return_value", version_flags=())


def command(
    data: Annotated[str, Parameter(help="The pairs, as for `pairjepa train --data`.")],
    /,
    *,
    seeds: Annotated[int, Parameter(help="Trainings of each step, over which the numbers are averaged.")] = 3,
    out: Annotated[Path, Parameter(help="Where to write: OUT.json, OUT.png and OUT.md.")] = Path(
        "docs/why-masked-fails"
    ),
    work: Annotated[Path, Parameter(help="Folder of the runs; finished ones are taken as they are.")] = Path(
        "runs/why-masked-fails"
    ),
    **given: Any,
) -> None:
    """Train and measure the steps from the reference's masked set-up to ours, and write the page."""
    if seeds < 1:
        raise UsageError(f"--seeds must be at least 1, got {seeds}.")
    result = study({"data.source": data, **given_settings(given)}, seeds, work)
    write_json(out.with_suffix(".json"), result)
    write_figure(result, out.with_suffix(".png"))
    write_page(result, out.with_suffix(".md"))
    say(f"wrote {out}.json, {out}.png, {out}.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except (CycloptsError, UsageError) as error:
        say(f"error: {error}")
        return 2
    except (PairJEPAError, OSError) as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; run the same command again to go on")
        return 130
    return 0


FLAGS = {
    *(f"model.{name}" for name in ("image", "text", "image_revision", "text_revision", "dim")),
    *(f"training.{name}" for name in ("epochs", "batch_size", "seed")),
}
app.default(
    with_flags(
        command,
        [
            setting
            for setting in settings(override(recipe("masked"), SHARED))
            if setting.name in FLAGS or (setting.section == "data" and setting.name != "data.source")
        ],
        needed=("model.image", "model.text"),
    )
)

if __name__ == "__main__":
    sys.exit(main())
