"""A report made by hand: small, with everything in it, and with names and captions that try to break out."""

import io
from typing import Any

import numpy as np
from PIL import Image

SCRIPT = "<script>alert(1)</script>"
IMAGES, CAPTIONS = 30, 2  # each image has two captions


def jpeg(shade: int, side: int = 32) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), (shade, 120, 255 - shade)).save(file, "JPEG")
    return file.getvalue()


def _recalls(value: float, interval: bool = True) -> dict[str, Any]:
    both: dict[str, Any] = {}
    for direction in ("image_to_text", "text_to_image"):
        found = {"R@1": value, "R@5": value + 20, "R@10": value + 30, "median_rank": 3.0, "mrr": 0.5}
        ends = {f"{name}_ci": [number - 0.1, number + 0.1] for name, number in found.items() if interval}
        both[direction] = found | ends
    both["rsum"] = 6 * value + 100
    return both | ({"rsum_ci": [6 * value + 90, 6 * value + 110]} if interval else {})


def _evaluation(masked: bool) -> dict[str, Any]:
    one = _recalls(60)["text_to_image"]
    spread = {"mean": 0.4, "sd": 0.1, "ci": [0.39, 0.41]}
    return {
        **_recalls(36.4),
        "baselines": {"chance": _recalls(1.7, interval=False), "cca": _recalls(30.2)},
        "cosine": {"matched": spread, "random": spread | {"mean": 0.0}, "auc": 0.98, "overlap": 0.128},
        "geometry": {"dim": 16, "effective_rank": {"image": 9.0, "text": 11.0}},
        "hard_negatives": {
            kind: {
                "accuracy": 75.5,
                "accuracy_ci": [70.0, 80.0],
                "blind": 50.0,
                "prior": 61.2,
                "cca": None,
                "twins": 4,
            }
            for kind in ("all", "colour")
        },
        "bootstrap": {"unit": "image", "draws": 2000, "seed": 0, "confidence": 0.95},
        "cost": {"training_seconds": 86.1, "trained_parameters": 4763137, "peak_rss_bytes": 2135805952},
        "notes": ["Beats CCA on the same features."],
    } | (
        {"partial": {r: one | {"shuffled": one, "text_only": None} for r in ("0.0", "0.6")}} if masked else {}
    )


def _curve() -> dict[str, Any]:
    k = list(range(1, 101))
    recall = [100 * (1 - 0.6**n) for n in k]
    one = {
        "recall": recall,
        "low": [value - 2 for value in recall],
        "high": [min(100.0, value + 2) for value in recall],
        "chance": [float(n) for n in k],
    }
    return {"k": k, "image_to_text": one, "text_to_image": one}


def _training(epochs: int) -> dict[str, Any]:
    names = [
        *("rsum", "image_to_text_R@1", "text_to_image_R@1", "matched", "random", "alignment", "modality_gap"),
        *(f"{of}_{side}" for of in ("uniformity", "effective_rank") for side in ("prediction", "target")),
    ]
    rising = [float(n) for n in range(1, epochs + 1)]
    return {
        "epoch": list(range(1, epochs + 1)),
        "best_epoch": epochs,
        "closed_form_share": 0.25,
        "dev": dict.fromkeys(names, rising),
        "train": {name: [rising[0], *[None] * (epochs - 1)] for name in names},
        "loss": rising[::-1],
        "terms": {"info_nce": rising[::-1]},
        "temperature": rising,
        "learning_rate": rising,
        "possible_rank": 16,
    }


def _projection() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    middle = rng.normal(size=(IMAGES, 2)) * 10
    captions = np.repeat(np.arange(IMAGES), CAPTIONS)
    places = np.concatenate([middle, middle[captions] + rng.normal(size=(len(captions), 2))])
    rows = [*range(IMAGES), *range(len(captions))]
    clusters = [[0, 1][row % 2] for row in [*range(IMAGES), *captions]]
    return {
        "method": "tsne",
        "x": places[:, 0].tolist(),
        "y": places[:, 1].tolist(),
        "kind": [0] * IMAGES + [1] * len(captions),
        "row": rows,
        "link": [-1] * IMAGES + captions.tolist(),
        "cluster": clusters,
        "clusters": [{"words": ["dog", SCRIPT], "size": 45}, {"words": ["snow"], "size": 45}],
        "trustworthiness": 0.93,
        "settings": {"method": "t-SNE (openTSNE 1.0)", "perplexity": "30", "seed": "0"},
        "note": "",
    }


def _examples() -> dict[str, Any]:
    to_text = {
        "query": 0,
        "rank": 2,
        "results": [{"row": row, "score": 0.5, "right": row < 2} for row in (4, 0, 1, 8, 9)],
        "own": [{"row": 0, "score": 0.5, "rank": 2}, {"row": 1, "score": 0.4, "rank": 3}],
    }
    to_image = {
        "query": 2,
        "rank": 27,
        "results": [{"row": row, "score": 0.5, "right": False} for row in (4, 5, 6, 7, 8)],
        "own": [{"row": 1, "score": 0.1, "rank": 27}],
    }
    return {
        direction: {kind: [one] for kind in ("best", "typical", "near", "worst")}
        for direction, one in (("image_to_text", to_text), ("text_to_image", to_image))
    }


def _run(name: str, *, masked: bool, epochs: int) -> dict[str, Any]:
    found = {"rank": 1, "top": [0, 4, 5]}
    token = [{"text": "a", "hidden": False}, {"text": "dog", "hidden": True}]
    verdict = {
        "key": "rank",
        "title": "Effective rank",
        "value": "9 of 16",
        "verdict": "No collapse.",
        "meaning": "Nine directions are in use.",
        "level": "good",
        "source": "docs/report.md#effective-rank",
    }
    hubs = {"k": 10, "skewness": 0.4, "counts": [3, 5, 8, 2], "share_for_half": 0.2, "never": 0.1}
    return {
        "name": name,
        "path": f"runs/{name}",
        "recipe": "masked" if masked else "contrastive",
        "seed": 0,
        "weights": "f" * 32,
        "complete": True,
        "config": {"recipe": name, "training": {"epochs": epochs}},
        "backbones": {
            side: {"source": "org/model", "digest": "0" * 32, "parameters": 1000}
            for side in ("image", "text")
        },
        "warnings": [],
        "seeds": None,
        "versions": {"pairjepa": "0.1.0", "torch": "2.13.0"},
        "evaluation": _evaluation(masked),
        "recall_curve": _curve(),
        "cosine": {"edges": [-0.5, 0.0, 0.5, 1.0], "matched": [0.1, 1.2, 0.7], "random": [1.0, 1.0, 0.0]},
        "margin": {"own": [0.5, 0.6, 0.2], "other": [0.4, 0.3, 0.3]},
        "training": _training(epochs),
        "geometry": {
            "spectrum": {"prediction": [0.5, 0.3, 0.1], "target": [0.5, 0.4, 0.2]},
            "hubness": {"image_to_text": hubs, "text_to_image": hubs},
            "verdicts": [verdict],
        },
        "projection": _projection(),
        "examples": _examples(),
        "partial": [
            {
                "caption": 0,
                "image": 0,
                "shuffled_image": 1,
                "ratio": 0.6,
                "tokens": token,
                "with_image": found,
                "shuffled": found | {"rank": 54},
                "text_only": None,
            }
        ]
        if masked
        else [],
        "twins": {
            name: [
                {"caption": 0, "kind": "colour", "text": f"a red dog {SCRIPT}", "margin": margin, "image": 0}
            ]
            for name, margin in (("worst", -0.25), ("best", 0.5))
        },
        "saliency": [
            {
                "image": 0,
                "picture": jpeg(200, 64),
                "grid": [2, 3],
                "maps": [
                    {"text": text, "values": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "cosine": 0.45}
                    for text in ("dog", SCRIPT)
                ],
            }
        ],
    }


def make_report(names: tuple[str, ...] = ("plain", "masked"), epochs: int = 3) -> dict[str, Any]:
    runs = [_run(name, masked=name == "masked", epochs=epochs) for name in names]
    images = [f"{SCRIPT}.jpg", *(f"{n}.jpg" for n in range(1, IMAGES))]
    owner = np.repeat(np.arange(IMAGES), CAPTIONS).tolist()
    leaf = {"difference": 1.5, "ci": [0.5, 2.5], "seed_ci": None}
    ways = ("image_to_text", "text_to_image")
    gap = {way: dict.fromkeys(("R@1", "R@5", "R@10"), leaf) for way in ways} | {"rsum": leaf}
    compare = {
        "baseline": names[0],
        "differences": dict.fromkeys(names[1:], gap),
        "verdict": {name: f"{name} is better than {names[0]} by 1.5 rsum." for name in names[1:]},
    }
    return {
        "split": "test",
        "relevance": "owner",
        "description": f"made by hand {SCRIPT}",
        "generated": False,
        "images": IMAGES,
        "captions": len(owner),
        "names": images,
        "texts": [f"caption {n} {SCRIPT}" for n in range(len(owner))],
        "owner": owner,
        "thumbnails": [jpeg(8 * n) for n in range(IMAGES - 1)] + [None],
        "runs": runs,
        "notes": ["There is a thumbnail missing."],
        "compare": compare if len(names) > 1 else None,
    }
