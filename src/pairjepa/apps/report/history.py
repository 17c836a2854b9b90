"""What was measured in each epoch, as columns over the epochs."""

from typing import Any

from pairjepa.run.folder import RunFolder


def training(run: RunFolder) -> dict[str, Any] | None:
    """The run's `metrics.jsonl`, a list an epoch for each number; `None` where no epoch was kept.

    `dev` and `train` have `rsum`, each way's recalls, `matched` and `random` cosine, `alignment`, `modality_gap`, and
    of both sides uniformity, effective rank and deviation per dimension; `train` is `None` in the epochs that did not
    measure it. `possible_rank` is the greatest effective rank that either side of dev could have, `dev_images` how many
    images it has.
    """
    lines = run.metrics()
    if not lines:
        return None
    dev = [_flat(line["dev"]) for line in lines]
    train = [_flat(line["train"]) if line["train"] is not None else {} for line in lines]
    return {
        "epoch": [line["epoch"] for line in lines],
        "best_epoch": best_epoch(run, lines),
        "dev": {name: [of[name] for of in dev] for name in dev[0]},
        "train": {name: [of.get(name) for of in train] for name in dev[0]},
        "loss": [line["loss"] for line in lines],
        "terms": {name: [line["terms"][name] for line in lines] for name in lines[0]["terms"]},
        "temperature": [line["temperature"] for line in lines],
        "learning_rate": [line["learning_rate"] for line in lines],
        "possible_rank": max(lines[-1]["possible_rank"].values()),
        "dev_images": run.record["data"]["splits"]["dev"]["images"],
    }


def best_epoch(run: RunFolder, lines: list[dict[str, Any]]) -> int:
    """The epoch whose weights the run holds: the first with the highest dev rsum."""
    if run.summary is not None:
        return run.summary["best_epoch"]
    return max(lines, key=lambda line: line["dev"]["rsum"])["epoch"]


def _flat(measured: dict[str, Any]) -> dict[str, float | None]:
    """One level of names for a chart: `image_to_text_R@1`, `uniformity_prediction`, and plain `matched`."""
    flat: dict[str, float | None] = {}
    for name, value in measured.items():
        if isinstance(value, dict):
            short = {"cosine": "", "deviation_per_dim": "deviation_"}.get(name, f"{name}_")
            flat |= {f"{short}{part}": number for part, number in value.items()}
        else:
            flat[name] = value
    return flat
