"""What healthy runs have: the ranges that the report's thresholds were set beside.

    python studies/healthy_runs.py runs/results/*/seed-*

of runs that `studies/results.py` has trained and evaluated. Writes docs/healthy-runs.json and the table in
docs/report.md.
"""

import sys
from typing import Any

import numpy as np
from results import ROOT, fill

from pairjepa.apps.report import collect
from pairjepa.evaluation.tables import markdown
from pairjepa.metrics.verdicts import DEAD
from pairjepa.util.files import write_json

SIDES = {"prediction": "image", "target": "text"}


def measured(run: dict[str, Any]) -> dict[str, list[float]]:
    """What the verdicts look at; two numbers where there are two sides."""
    evaluation, geometry, training = run["evaluation"], run["geometry"], run["training"]
    spectra = [np.square(geometry["spectrum"][side]) for side in SIDES]
    hubs = [geometry["hubness"][way] for way in ("image_to_text", "text_to_image")]
    seen = [
        train / dev
        for train, dev in zip(training["train"]["rsum"], training["dev"]["rsum"], strict=True)
        if train is not None
    ]
    return {
        "effective rank, predictions / targets": [
            evaluation["geometry"]["effective_rank"][name] for name in SIDES.values()
        ],
        "directions for 90 % of the variance": [
            float(1 + np.searchsorted(np.cumsum(one) / one.sum(), 0.9)) for one in spectra
        ],
        "dead directions": [float((np.sqrt(one) < DEAD * np.sqrt(one[0])).sum()) for one in spectra],
        "uniformity": [evaluation["geometry"]["uniformity"][name] for name in SIDES.values()],
        "modality gap": [evaluation["geometry"]["modality_gap"]],
        "AUC": [evaluation["cosine"]["auc"]],
        "items for half of the answers over that by chance, captions / images": [
            one["share_for_half"] / one["even"]["share_for_half"] for one in hubs
        ],
        "training rsum over dev rsum, last measured": [seen[-1]],
    }


def main(runs: list[str]) -> None:
    """Measure and write."""
    found = [measured(collect([run], projection="pca")["runs"][0]) for run in runs]
    ranges = {
        name: [[min(side), max(side)] for side in zip(*(one[name] for one in found), strict=True)]
        for name in found[0]
    }
    write_json(ROOT / "docs" / "healthy-runs.json", {"runs": len(runs), "ranges": ranges})
    rows = [["", f"{len(runs)} runs of Flickr8k"]]
    for name, sides in ranges.items():
        digits = 0 if sides[0][1] >= 10 or sides[0][1] == int(sides[0][1]) else 3 if sides[0][1] < 1 else 2
        rows.append([name, " / ".join(f"{low:.{digits}f} to {high:.{digits}f}" for low, high in sides)])
    fill(ROOT / "docs" / "report.md", "healthy-runs", markdown(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
