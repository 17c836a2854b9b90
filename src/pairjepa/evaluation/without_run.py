"""Measured without a run: a pretrained pair as it is, and closed forms on features before any training."""

from pathlib import Path
from typing import Any, Literal

from pairjepa.backbones.encoders import load_backbones
from pairjepa.backbones.location import SIDES, local_folder
from pairjepa.backbones.vectors import on_vectors
from pairjepa.config.settings import RunConfig
from pairjepa.evaluation import baseline_rows
from pairjepa.evaluation.embedding_set import check_target
from pairjepa.evaluation.evaluate import embedding_set, with_split
from pairjepa.evaluation.notes import align_or_predict
from pairjepa.evaluation.result import evaluate_embeddings, measure_twins
from pairjepa.features.engines import check_engine
from pairjepa.pairs.data import read_data
from pairjepa.pairs.leaks import warn_of_leaks
from pairjepa.pairs.splits import LEAST
from pairjepa.pairs.table import Pairs, open_pairs, opened
from pairjepa.training.material import Material, warn_of_captions
from pairjepa.util.errors import PairJEPAError, unknown
from pairjepa.util.files import digest


def evaluate_pair(
    config: RunConfig,
    split: str = "test",
    *,
    export: str | Path | None = None,
    relevance: Literal["owner", "text"] = "owner",
    pairs: Pairs | None = None,
) -> dict[str, Any]:
    """The result of `evaluate` for the pretrained pair `config.model.pair`, from which nothing was learned.

    Features stay in the cache; nothing else is left behind but `export`. Of pairs without that split all are
    measured; hubness correction and CCA need train and dev.

    Args:
        config: of the recipe `adapt`: the pair, its views and longest caption, and the data.
        split: train, dev, test or all.
        export: a folder for the embeddings.
        relevance: as of `evaluate`.
        pairs: the pairs, instead of those that `config.data` names.

    Raises:
        UsageError: `split` or `relevance` is unknown, or the configuration has no pair.
        PairJEPAError: the pair or the pairs cannot be read.
    """
    if relevance not in ("owner", "text"):
        raise unknown("relevance", relevance, ("owner", "text"))
    config.validate()
    config = on_vectors(config, pairs)
    local_folder(config.model.pair, "pair")
    check_engine(config.model.engine)
    if export is not None:
        check_target(Path(export))
    pairs, split = with_split(opened(pairs, config.data), split)
    pairs.check_split(split)
    data = read_data(pairs, config.data.max_bad)
    data.pairs.check_split(split)
    warn_of_leaks(data.record)
    image, text = load_backbones(config, ())
    warn_of_captions(data.pairs, text)
    material = Material(config, data, image, text)
    corrected = {"train", "dev"} <= set(data.pairs.splits)
    twins = material.twins(split)
    pair = baseline_rows.pretrained(material, split, corrected, twins)
    forms = baseline_rows.closed_forms(material, split, corrected, twins)
    cca = forms.pop("cca", None)
    weights = digest(image.digest, text.digest)
    embeddings = embedding_set(material, split, pair.image, pair.text, weights)
    result = evaluate_embeddings(
        embeddings,
        cca=cca,
        regressions=forms,
        hubness=pair.hubness,
        relevance=relevance,
    )
    assert pair.twins is not None
    model = embeddings.image, embeddings.text, pair.twins
    result["hard_negatives"], _ = measure_twins(twins, model, embeddings.owner, cca)
    if export is not None:
        embeddings.save(Path(export))
    return result | {
        "run": config.model.pair,
        "weights": weights,
        "control_weights": None,
        "recipe": "zero-shot",
        "seed": config.training.seed,
        "data": {key: data.record[key] for key in ("description", "generated", "digest", "leaks")}
        | {"other": False},
        "cost": None,
    }


KEYS = ("split", "images", "captions", "relevance", "baselines", "align_or_predict", "bootstrap")


def probe(config: RunConfig) -> dict[str, Any]:
    """CCA and ridge regression both ways, fitted on train, measured on dev, with what they say; JSON-ready.

    Features stay in the cache, where a training finds them.

    Args:
        config: data and backbones, as for a training.

    Raises:
        PairJEPAError: there are no train or dev pairs, or the backbones cannot be read.
    """
    config = on_vectors(config, None)
    if config.model.pair is not None:
        local_folder(config.model.pair, "pair")
    else:
        for side in SIDES:
            local_folder(getattr(config.model, side), side)
    pairs = open_pairs(config.data)
    pairs.check_trainable()
    data = read_data(pairs, config.data.max_bad)
    material = Material(config, data, *load_backbones(config, data.pairs.captions.to_pylist()))
    forms = baseline_rows.closed_forms(material, "dev", False, ())
    if not forms:
        few = data.pairs.splits["train"][0]
        raise PairJEPAError(f"inspect --probe must have {LEAST['train']} train images or more, got {few}.")
    cca = forms.pop("cca")
    embeddings = embedding_set(material, "dev", cca.image, cca.text, "")
    result = evaluate_embeddings(embeddings, cca=cca, regressions=forms)
    return {key: result[key] for key in KEYS} | {"note": align_or_predict(result)}
