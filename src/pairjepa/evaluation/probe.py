"""Align or predict, before any training: closed forms of both on the features of frozen backbones."""

from typing import Any

from pairjepa.backbones.encoders import load_backbones
from pairjepa.backbones.location import SIDES, local_folder
from pairjepa.backbones.vectors import on_vectors
from pairjepa.config.settings import RunConfig
from pairjepa.evaluation import baseline_rows
from pairjepa.evaluation.evaluate import embedding_set
from pairjepa.evaluation.notes import align_or_predict
from pairjepa.evaluation.result import evaluate_embeddings
from pairjepa.pairs.data import read_data
from pairjepa.pairs.splits import LEAST
from pairjepa.pairs.table import open_pairs
from pairjepa.training.material import Material
from pairjepa.util.errors import PairJEPAError

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
