"""Sentences about a training that goes wrong: the verdict, its numbers, and what to try that the run does not do."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pairjepa.config.settings import HeadConfig, RunConfig, pretrained
from pairjepa.metrics import verdicts as judge

STALE = 10  # epochs without a better dev rsum, and before recall can be called at chance
LOST = 5.0  # points of rsum below the best
FALLEN_LOSS = 0.9
SIDES = {"prediction": ("image_projection", "predictor"), "target": ("text_projection",)}
"""The heads of each side, as the settings call them."""


@dataclass(frozen=True)
class Watch:
    """What a training is judged beside."""

    config: RunConfig
    chance: float
    """dev rsum of a random ranking."""
    dev_images: int
    train_images: int
    dim: int
    """Of the shared space."""
    constant: Collection[str] = ()
    """Sides whose frozen features are the same for all pairs."""

    def warnings(self, history: list[dict[str, Any]]) -> dict[str, str]:
        """Kind → sentence for what the last epoch shows.

        Args:
            history: one dict an epoch, as in metrics.jsonl.
        """
        now, found = history[-1], {}
        at = f"after epoch {now['epoch']}"
        for side in SIDES:
            if side in self.constant:
                found[f"constant features of the {side}"] = self._constant(side)
            elif self._collapse(side, now).level == "bad":
                found[f"collapse of the {side}"] = (
                    f"Collapse of the {side} {at}: {self._collapse(side, now).value}. {self._try_apart(side)}"
                )
        best = max(history, key=lambda epoch: epoch["dev"]["rsum"])
        overfits = self._overfits(history, best)
        if overfits is not None:
            found["overfits"] = (
                f"The model overfits {at}: {overfits.value}, and dev has not risen since epoch {best['epoch']} "
                f"({best['dev']['rsum']:.0f}; that epoch is kept). {self._try_simpler(best['epoch'])}"
            )
        rsum = best["dev"]["rsum"]
        chance = judge.against_chance(
            rsum, judge.rsum_interval(rsum, self.dev_images), self.chance, self.dev_images
        )
        fallen = now["loss"] < FALLEN_LOSS * history[0]["loss"]
        if now["epoch"] >= STALE and fallen and chance.level != "good" and not self.constant:
            loss = f"The loss falls ({history[0]['loss']:.2f} to {now['loss']:.2f})"
            if chance.level == "bad":
                found["no recall"] = (
                    f"{loss} but recall stays at chance {at}: dev {chance.value}. Nothing that is learned holds on "
                    f"new images. {self._try_data()}"
                )
            else:
                found["few images"] = f"{loss}; {chance.text}: dev {chance.value}. Give dev more images."
        return found

    def _collapse(self, side: str, now: dict[str, Any]) -> judge.Verdict:
        dev = now["dev"]
        return judge.collapse(
            side,
            dev["effective_rank"][side],
            now["possible_rank"][side],
            dev["deviation_per_dim"][side] * math.sqrt(self.dim),
            self.dev_images,
        )

    def _overfits(self, history: list[dict[str, Any]], best: dict[str, Any]) -> judge.Verdict | None:
        now, dev = history[-1], history[-1]["dev"]["rsum"]
        probe = next(
            (epoch["train"]["rsum"] for epoch in reversed(history) if epoch["train"] is not None), None
        )
        if probe is None or now["epoch"] - best["epoch"] < STALE or dev >= best["dev"]["rsum"] - LOST:
            return None
        verdict = judge.overfitting(probe, dev, self.dev_images, fallen=True)
        return verdict if verdict.level == "warn" else None

    # What to try: never what the run does already.

    def _constant(self, side: str) -> str:
        model = self.config.model
        if side == "prediction":
            cause = "are the images all the same, or black once they are read? See `pairjepa inspect`"
        else:
            cause = (
                "are the captions all the same, the same up to model.max_tokens "
                f"({model.max_tokens}), or in a script that the text backbone does not know? See `pairjepa inspect`"
            )
        what = "image" if side == "prediction" else "caption"
        return f"The frozen features are the same for every {what}, so that nothing can be learned of them: {cause}."

    def _try_apart(self, side: str) -> str:
        training, weights = self.config.training, self.config.objective.weights
        if training.solver == "cca":
            return _try(["more pairs"])
        tries = []
        if not weights.get("info_nce"):
            tries.append(
                "info_nce, whose negatives keep rows apart, in the objective (objective.weights.info_nce 1)"
            )
        elif training.batch_size < self.train_images:
            tries.append(f"a larger training.batch_size than {training.batch_size} (more negatives)")
        tries.append(f"a lower training.learning_rate than {training.learning_rate:g}")
        return _try(tries + [f"model.{name}.kind linear" for name in self._deep(*SIDES[side])])

    def _try_simpler(self, best_epoch: int) -> str:
        model, tries = self.config.model, []
        if max(head.input_dropout for head in (model.image_projection, model.predictor)) < 0.5:
            tries.append("model.image_projection.input_dropout 0.5")
        tries += [f"model.{name}.kind linear" for heads in SIDES.values() for name in self._deep(*heads)]
        if self.config.training.epochs > 2 * best_epoch:
            tries.append(f"fewer training.epochs than {self.config.training.epochs}")
        return _try([*tries, "more pairs"])

    def _try_data(self) -> str:
        model = self.config.model
        random = [f"model.{side}" for side in ("image", "text") if not pretrained(model, side)]
        tries = [f"a pretrained backbone as {' and '.join(random)}"] if random else []
        return (
            f"Check that captions belong to their images (pairjepa inspect). {_try([*tries, 'more pairs'])}"
        )

    def _deep(self, *names: str) -> list[str]:
        """Those of the heads that are more than a linear map; an adapter's start is the pretrained pair."""
        heads: dict[str, HeadConfig] = {name: getattr(self.config.model, name) for name in names}
        return [name for name, head in heads.items() if head.kind not in ("identity", "linear", "adapter")]


def _try(tries: list[str]) -> str:
    *first, last = tries
    return f"Try {', '.join(first)}{' or ' if first else ''}{last}."
