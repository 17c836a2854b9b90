"""Several runs on the same pairs as one model: their embeddings side by side, so that scores are mean cosines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pairjepa.evaluation import baseline_rows
from pairjepa.evaluation.embedding_set import check_target
from pairjepa.evaluation.evaluate import embedding_set
from pairjepa.evaluation.result import evaluate_embeddings
from pairjepa.pairs.data import read_known
from pairjepa.pairs.table import Pairs, opened
from pairjepa.run.seeds import runs_at
from pairjepa.training.chosen_on_dev import Embed, fit_correction
from pairjepa.training.ensemble import side_by_side, trained, untrained
from pairjepa.util.errors import UsageError
from pairjepa.util.files import digest


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
    data = read_known(opened(pairs, folders[0].config.data), 1.0, folders[0])
    data.pairs.check_split(split)
    models: list[tuple[Embed, str]] = []
    for folder in folders:
        material = untrained(folder, data)
        if not models:  # of features before any training
            first, forms = material, baseline_rows.closed_forms(material, split, True, (), folder)
        models.append(trained(folder, material))
    embed = side_by_side([one for one, _ in models])
    images, captions, _ = first.rows(split)
    weights = digest([weights for _, weights in models])
    embeddings = embedding_set(first, split, *embed(images, captions), weights)
    if export is not None:
        embeddings.save(Path(export))
    correction, cca = fit_correction(first, embed)[0], forms.pop("cca", None)
    result = evaluate_embeddings(
        embeddings, cca=cca, regressions=forms, hubness=correction, relevance=relevance
    )
    return result | {"runs": [str(folder.path) for folder in folders], "weights": embeddings.run}
