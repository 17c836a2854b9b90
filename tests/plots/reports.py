"""A small report by hand, as `apps.report.collect` makes it: two runs of four images with two captions."""

import io
from typing import Any

import numpy as np
from PIL import Image

K = list(range(1, 101))


def recalls(first: float) -> dict[str, Any]:
    """R@1 and higher, each with its interval."""
    found: dict[str, Any] = {}
    for name, value in (("R@1", first), ("R@5", first + 20), ("R@10", first + 30)):
        found |= {name: value, f"{name}_ci": [value - 3, value + 4]}
    return found


def curve(first: float) -> dict[str, list[float]]:
    recall = [min(100.0, first + 10 * np.log(k)) for k in K]
    return {
        "recall": recall,
        "low": [r - 2 for r in recall],
        "high": [r + 2 for r in recall],
        "chance": [0.2 * k for k in K],
    }


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 32), (200, 30, 30)).save(file, "JPEG")
    return file.getvalue()


def run(name: str = "contrastive", first: float = 30.0) -> dict[str, Any]:
    """One run of the report, with nothing to show of partial queries and saliency maps."""
    random = np.random.default_rng(0)
    return {
        "name": name,
        "weights": f"digest of {name}",
        "evaluation": {
            "image_to_text": recalls(first),
            "text_to_image": recalls(first - 10),
            "baselines": {
                "chance": {
                    way: {"R@1": 1.0, "R@5": 5.0, "R@10": 10.0} for way in ("image_to_text", "text_to_image")
                },
                "cca": {way: recalls(first - 15) for way in ("image_to_text", "text_to_image")},
            },
            "cosine": {
                "matched": {"mean": 0.6, "sd": 0.1, "ci": [0.5, 0.7]},
                "random": {"mean": -0.001, "sd": 0.2, "ci": [-0.1, 0.1]},
                "auc": 0.975,
                "overlap": 0.125,
            },
            "geometry": {"dim": 16, "effective_rank": {"image": 2.5, "text": 3.25}},
        },
        "recall_curve": {"k": K, "image_to_text": curve(first), "text_to_image": curve(first - 10)},
        "cosine": {"edges": [-0.5, 0.0, 0.5, 1.0], "matched": [0.0, 0.5, 1.5], "random": [1.25, 0.75, 0.0]},
        "margin": {"own": [0.75, 0.5, 0.25, 0.5], "other": [0.5, 0.5, 0.5, 0.25]},
        "training": {
            "epoch": [1, 2, 3],
            "best_epoch": 2,
            "dev": {
                "rsum": [100.0, 200.0, 150.0],
                "image_to_text_R@1": [10.0, 30.0, 20.0],
                "text_to_image_R@1": [5.0, 20.0, 15.0],
                "matched": [0.1, 0.6, 0.5],
                "random": [0.0, -0.001, 0.0],
                "alignment": [1.8, 0.8, 1.0],
                "uniformity_prediction": [-1.0, -2.0, -2.5],
                "uniformity_target": [-1.5, -2.5, -3.0],
                "effective_rank_prediction": [5.0, 9.0, 8.0],
                "effective_rank_target": [6.0, 10.0, 9.0],
                "modality_gap": [0.5, 0.2, 0.1],
            },
            "train": {"rsum": [None, None, 400.0]},
            "loss": [5.0, 3.0, 2.0],
            "terms": {"info_nce": [5.0, 3.0, 2.0]},
            "possible_rank": 16,
        },
        "geometry": {
            "spectrum": {"prediction": [0.5, 0.25, 0.125], "target": [0.4, 0.3, 0.2, 0.1]},
            "hubness": {
                way: {"k": 3, "skewness": 1.5, "counts": [4, 3, 0, 1], "share_for_half": 0.125, "never": 0.5}
                for way in ("image_to_text", "text_to_image")
            },
        },
        "projection": {
            "method": "tsne",
            "x": random.normal(size=12).tolist(),
            "y": random.normal(size=12).tolist(),
            "kind": [0] * 4 + [1] * 8,
            "row": [*range(4), *range(8)],
            "link": [-1] * 4 + [0, 0, 1, 1, 2, 2, 3, 3],
            "cluster": [0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1],
            "clusters": [{"words": ["dog", "snow", "$x$"], "size": 6}, {"words": ["boat"], "size": 6}],
            "trustworthiness": 0.875,
            "settings": {"method": "t-SNE (openTSNE 1.0)", "perplexity": "3", "seed": "7"},
            "note": "Distances between groups mean nothing.",
        },
        "saliency": [],
    }


def partial() -> dict[str, Any]:
    """What a masked run's evaluation has, its ratios not in order."""
    return {
        ratio: recalls(first) | {"shuffled": recalls(first / 2), "text_only": recalls(first - 10)}
        for ratio, first in (("0.6", 60.0), ("0.0", 90.0), ("0.9", 20.0))
    }


def saliency(shown: bool = True) -> dict[str, Any]:
    maps = [
        {"text": text, "values": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "cosine": 0.35}
        for text in ("dog", "a $5 $6 sky")
    ]
    return {"image": 0, "picture": picture() if shown else None, "grid": [2, 3], "maps": maps}


def report(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"split": "test", "images": 4, "captions": 8, "runs": list(runs) or [run()]}


def collapsed() -> dict[str, Any]:
    """One epoch, all rows one point, no other image, and what follows from that."""
    gone = run("collapsed", 5.0)
    training = gone["training"]
    for key in ("epoch", "loss"):
        training[key] = training[key][:1]
    training |= {
        "best_epoch": 1,
        "dev": {name: values[:1] for name, values in training["dev"].items()}
        | {"random": [None], "modality_gap": [None]},
        "train": {"rsum": [None]},
        "terms": {"info_nce": [5.0]},
    }
    gone["evaluation"]["cosine"] |= {"random": None, "auc": None, "overlap": None}
    gone["evaluation"]["baselines"]["cca"] = None
    gone["evaluation"]["geometry"]["effective_rank"] = {"image": 0.0, "text": 0.0}
    gone["cosine"] = {"edges": [0.99, 1.0, 1.01], "matched": [0.0, 100.0], "random": None}
    gone["geometry"]["spectrum"] = {"prediction": [0.0, 0.0], "target": [0.0, 0.0]}
    for hubs in gone["geometry"]["hubness"].values():
        hubs["skewness"] = None
    return gone | {"projection": None, "margin": None}
