import numpy as np
import pytest

from pairjepa.evaluation.embedding_set import EmbeddingSet
from pairjepa.evaluation.result import evaluate_embeddings as evaluate
from pairjepa.evaluation.tables import hard_negatives_table, seeds_table
from pairjepa.metrics.over_seeds import over_seeds

from .arrays import ragged, unit


def evaluations(count):
    image, text, owner = ragged(images=12)
    results = []
    for seed in range(count):
        moved = unit(image + 0.4 * np.random.default_rng(seed).normal(size=image.shape))
        names, captions = [f"{i}.jpg" for i in range(12)], [f"caption {i}" for i in range(len(owner))]
        found = EmbeddingSet(moved, text, owner, names, captions, split="test", run="0")
        results.append(evaluate(found, cca=None, draws=20) | {"seed": seed + 4})
    return results


def test_mean_and_spread_are_those_of_each_metric_over_seeds():
    results = evaluations(3)
    found = over_seeds(results)
    assert found["seeds"] == results
    for tree, statistic in ((found["mean"], np.mean), (found["sd"], lambda v: np.std(v, ddof=1))):
        assert set(tree) == {"image_to_text", "text_to_image", "rsum"}
        assert set(tree["image_to_text"]) == {"R@1", "R@5", "R@10", "median_rank", "mrr"}
        assert tree["rsum"] == pytest.approx(statistic([r["rsum"] for r in results]))
        for way in ("image_to_text", "text_to_image"):
            for name, value in tree[way].items():
                assert value == pytest.approx(statistic([r[way][name] for r in results]))


def test_the_table_has_a_row_a_seed_and_their_mean():
    found = over_seeds(evaluations(3))
    lines = seeds_table(found).splitlines()
    assert [line[:6] for line in lines if line.startswith("seed ")] == ["seed 4", "seed 5", "seed 6"]
    (last,) = [line for line in lines if line.startswith("mean ± sd")]
    assert last.endswith(f"{found['mean']['rsum']:.1f} ± {found['sd']['rsum']:.1f}")


def test_a_single_seed_has_no_spread():
    found = over_seeds(evaluations(1))
    assert found["sd"] is None
    assert seeds_table(found).count("±") == 1


def test_hard_negatives_have_an_interval_of_one_seed_and_the_spread_of_several():
    def seed(accuracy):
        found = {"accuracy": accuracy, "accuracy_ci": [1.0, 9.0], "blind": 50.0, "prior": None, "cca": 40.0}
        return {"all": found | {"twins": 1200}}

    header, row, *_ = hard_negatives_table([seed(60.0)]).splitlines()
    assert "95 % interval" in header
    assert row.split() == ["all", "60.0", "1.0–9.0", "50.0", "-", "40.0", "1,200"]
    header, row, *_ = hard_negatives_table([seed(60.0), seed(63.0)]).splitlines()
    assert "sd of seeds" in header
    assert row.split() == ["all", "61.5", "2.1", "50.0", "-", "40.0", "1,200"]
