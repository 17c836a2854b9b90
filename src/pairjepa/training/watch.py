"""Sentences about a training that goes wrong, from the numbers of its epochs: what is seen, and what to try."""

from typing import Any

COLLAPSED_RANK = 2.0  # of at least 16 directions that the data could fill
COLLAPSED_COSINE = 0.95
BY_HEART = 1.5  # times the dev rsum
STALE = 10  # epochs without a better dev rsum
LOST = 5.0  # points of rsum below the best


def warnings(history: list[dict[str, Any]], chance: float) -> dict[str, str]:
    """Kind → sentence for what the last epoch shows.

    Args:
        history: one dict an epoch, as in metrics.jsonl.
        chance: dev rsum of a random ranking.
    """
    found = {}
    now = history[-1]
    dev = now["dev"]
    at = f"after epoch {now['epoch']}"
    for side, where in (("prediction", "image_projection or predictor"), ("target", "text_projection")):
        rank, possible = dev["effective_rank"][side], now["possible_rank"][side]
        random = dev["cosine"]["random"]
        if possible >= 16 and (rank < COLLAPSED_RANK or (random is not None and random > COLLAPSED_COSINE)):
            cosine = "unknown" if random is None else f"{random:.2f}"
            found[f"collapse of the {side}"] = (
                f"Collapse of the {side} {at}: effective rank {rank:.1f} of {possible}, cosine of random pairs "
                f"{cosine}: nearly everything lies in one direction. Try a larger batch (negatives keep "
                f"directions apart), a lower training.learning_rate, or a simpler model.{where.split()[0]}."
            )
    seen = next((epoch["train"]["rsum"] for epoch in reversed(history) if epoch["train"] is not None), 0.0)
    best = max(history, key=lambda epoch: epoch["dev"]["rsum"])
    stale = now["epoch"] - best["epoch"]
    if stale >= STALE and dev["rsum"] < best["dev"]["rsum"] - LOST and seen > BY_HEART * dev["rsum"]:
        found["by heart"] = (
            f"The model learns its training pairs by heart {at}: rsum {seen:.0f} on training images, "
            f"{dev['rsum']:.0f} on dev, which has not risen since epoch {best['epoch']} ({best['dev']['rsum']:.0f}; "
            "that epoch is kept). Try model.image_projection.input_dropout 0.5, linear heads, fewer "
            "training.epochs, or more pairs."
        )
    if (
        now["epoch"] >= STALE
        and best["dev"]["rsum"] < 1.5 * chance
        and now["loss"] < 0.9 * history[0]["loss"]
    ):
        found["no recall"] = (
            f"The loss falls ({history[0]['loss']:.2f} to {now['loss']:.2f}) but recall stays at chance {at}: dev rsum "
            f"{dev['rsum']:.1f}, a random ranking has {chance:.1f}. Nothing that is learned holds on new images: "
            "check that captions belong to their images (pairjepa inspect), give pretrained backbones, or more pairs."
        )
    return found
