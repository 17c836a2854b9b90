"""Several runs on the same pairs as one model: their embeddings side by side, so that scores are mean cosines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pairjepa.backbones.device import best_device
from pairjepa.backbones.encoders import describe, load_backbones
from pairjepa.embedder.embedder import Embedder
from pairjepa.evaluation import baseline_rows
from pairjepa.evaluation.embedding_set import check_target
from pairjepa.evaluation.evaluate import embedding_set
from pairjepa.evaluation.result import Baseline, evaluate_embeddings
from pairjepa.pairs.data import read_known
from pairjepa.pairs.table import Pairs, opened
from pairjepa.run.seeds import runs_at
from pairjepa.training.hubness import Embed, embed_rows, fit
from pairjepa.training.material import Material
from pairjepa.util.errors import UsageError
from pairjepa.util.files import digest, writing
from pairjepa.util.progress import say


def evaluate_ensemble(
    runs: Sequence[str | Path],
    split: str = "test",
    *,
    export: str | Path | None = None,
    relevance: Literal["owner", "text"] = "owner",
    pairs: Pairs | None = None,
) -> dict[str, Any]:
    """Measure runs as one model, beside chance and CCA, as `evaluate` measures one; nothing is written into them.

    Args:
        runs: run folders and seed groups, all trained on the same pairs.
        split: train, dev or test.
        export: a folder for the embeddings.
        relevance: as in `evaluate`.
        pairs: the pairs, if they were given to `train`.

    Raises:
        UsageError: there are fewer than two runs.
        PairJEPAError: a run is not there, or was trained on other pairs.
    """
    folders = [folder for run in runs for folder in runs_at(Path(run))]
    if len(folders) < 2:
        raise UsageError(
            f"--ensemble must have at least two runs, got {len(folders)}. Train some: pairjepa train … --seeds 3."
        )
    if export is not None:
        check_target(Path(export))
    first = folders[0].config
    data = read_known(opened(pairs, first.data), 1.0, folders[0])
    data.pairs.check_split(split)
    models: list[tuple[Material, Embed, str]] = []
    forms: dict[str, Baseline] = {}
    for folder in folders:
        folder.check_trained()
        folder.check_data(data.record)
        image, text = load_backbones(folder.config, (), folder.path)
        folder.check_backbones(describe(folder.config, image, text))
        material = Material(folder.config, data, image, text, folder.record.get("engines"))
        if not models:  # while the backbones are untrained
            forms = baseline_rows.closed_forms(material, split, True, (), folder)
        embedder = Embedder.of(folder, image, text)
        models.append((material, embed_rows(embedder.joint, material, best_device()), embedder.weights))
        say(f"{folder.path}: {material.config.recipe}, seed {material.config.training.seed}")

    def embed(images: np.ndarray, captions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sides = zip(*(one(images, captions) for _, one, _ in models), strict=True)
        image, text = (np.concatenate(side, axis=1) / np.float32(len(models) ** 0.5) for side in sides)
        return image, text

    material = models[0][0]
    images, captions, _ = material.rows(split)
    weights = digest([weights for _, _, weights in models])
    embeddings = embedding_set(material, split, *embed(images, captions), weights)
    if export is not None:
        with writing(Path(export)):
            embeddings.save(Path(export))
    correction, cca = fit(material, embed)[0], forms.pop("cca", None)
    result = evaluate_embeddings(
        embeddings, cca=cca, regressions=forms, hubness=correction, relevance=relevance
    )
    return result | {"runs": [str(folder.path) for folder in folders], "weights": embeddings.run}
