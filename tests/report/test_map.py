"""The map, its clusters and their names, and the examples."""

import importlib.util
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pairjepa.apps.report.examples import examples
from pairjepa.apps.report.projection import check_method, clusters, names, project, sample
from pairjepa.metrics.relevance import Relevance
from pairjepa.metrics.retrieval import best_scores, retrieve
from pairjepa.util.errors import PairJEPAError

from .runs import embeddings, unit


def grouped(images=45):
    """Three groups far apart, on one side of a wide modality gap and on the other."""
    rng = np.random.default_rng(0)
    group, owner = np.arange(images) % 3, np.repeat(np.arange(images), 2)
    centres = 3 * np.eye(3, 20)
    image = centres[group] + 0.2 * rng.normal(size=(images, 20))
    text = centres[group[owner]] + 0.2 * rng.normal(size=(2 * images, 20))
    image[:, 10], text[:, 10] = 4, -4
    words = ("the dog in the snow", "a boat on the water", "a crowd in a street")
    base = embeddings(images)
    return replace(
        base,
        image=unit(image),
        text=unit(text),
        owner=owner,
        captions=[words[group[row]] for row in owner],
    ), group


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_a_map_keeps_groups_together(method):
    found, group = grouped()
    drawn, note = project(found, method, points=6000, seed=0)
    assert note is None
    assert drawn["method"] == method
    assert (drawn["kind"].count(0), drawn["kind"].count(1)) == (45, 90)
    assert drawn["link"][:45] == [-1] * 45
    for point in range(45, 135):
        assert drawn["row"][drawn["link"][point]] == found.owner[drawn["row"][point]]
    assert 0.5 < drawn["trustworthiness"] <= 1
    assert drawn["settings"]["points"] == "45 predictions and 90 targets"
    if method == "tsne":
        place = np.array([drawn["x"][45:], drawn["y"][45:]]).T
        near = np.argsort(np.linalg.norm(place[:, None] - place, axis=2), axis=1)[:, 1:6]
        kind = group[found.owner]
        assert (kind[near] == kind[:, None]).mean() > 0.95
    assert project(found, method, points=6000, seed=0)[0] == drawn


def test_clusters_are_of_contents_not_of_modality():
    found, group = grouped(18)  # 54 points: five clusters at most
    label, named = clusters(found.image, found.text, found.captions, found.owner, 0)
    assert len(named) == 5
    assert [of["size"] for of in named] == sorted(np.bincount(label).tolist(), reverse=True)
    kind = np.concatenate([group, group[found.owner]])
    for number in range(5):
        assert len(set(kind[label == number])) == 1
    largest = {frozenset(of["words"]) for of in named}
    assert largest <= {
        frozenset({"dog", "snow"}),
        frozenset({"boat", "water"}),
        frozenset({"crowd", "street"}),
    }


def test_a_word_that_all_say_names_none():
    said = [Counter(man=9, dog=8, snow=4), Counter(man=9, boat=5, sea=5), Counter()]
    assert [set(words[:2]) for words in names(said)[:2]] == [{"dog", "snow"}, {"boat", "sea"}]
    assert {words[2] for words in names(said)[:2]} == {"man"}
    assert names(said)[2] == []


def test_whole_images_are_sampled():
    found = embeddings(30)
    images, captions = sample(found.owner, 30, 40, 0)
    assert len(images) + len(captions) <= 40
    assert len(images) + len(captions) > 36
    np.testing.assert_array_equal(captions, np.flatnonzero(np.isin(found.owner, images)))
    assert len(sample(found.owner, 30, 1, 0)[0]) == 1
    drawn, _ = project(found, "pca", points=40, seed=0)
    assert "of 30 sampled images" in drawn["settings"]["points"]
    assert drawn["row"][: len(images)] == images.tolist()


def test_few_points_or_one_place_are_said():
    one = embeddings(1)
    two = replace(one, text=one.text[:1], owner=one.owner[:1], captions=one.captions[:1])
    assert project(two, "tsne", points=99, seed=0) == (
        None,
        "There is no map: it takes 3 points, and there are 2.",
    )
    pair = replace(one, text=unit(np.eye(3, 16)), owner=np.zeros(3, np.int64), captions=["a", "b", "c"])
    drawn, note = project(pair, "tsne", points=99, seed=0)
    assert drawn["method"] == "pca"
    assert note.startswith("The map is by PCA: 4 points")
    five = replace(one, text=unit(np.eye(4, 16)), owner=np.zeros(4, np.int64), captions=list("abcd"))
    drawn, note = project(five, "tsne", points=99, seed=0)
    assert (drawn["method"], note) == ("tsne", None)
    assert project(embeddings(collapsed=True), "tsne", points=99, seed=0)[0] is None


def test_what_is_not_installed_is_named(monkeypatch):
    there = importlib.util.find_spec
    for method, module, package in (("umap", "umap", "umap-learn"), ("tsne", "openTSNE", "opentsne")):
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, out=module: None if name == out else there(name)
        )
        with pytest.raises(PairJEPAError, match=rf"needs the package '{package}'.*pip install 'pairjepa\["):
            check_method(method)
        check_method("pca")


@pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="umap-learn is not installed")
def test_umap_draws_the_same_map_twice():
    found, _ = grouped()
    drawn, _ = project(found, "umap", points=6000, seed=0)
    assert drawn == project(found, "umap", points=6000, seed=0)[0]
    assert drawn["trustworthiness"] > 0.7


@pytest.fixture(scope="module")
def searched():
    found = embeddings(50, noise=1.5)
    relevance = Relevance.by_owner(found.owner, 50)
    return (
        found,
        relevance,
        retrieve(found.image, found.text, found.owner),
        np.subtract(*best_scores(found.image, found.text, relevance)),
        np.subtract(*best_scores(found.text, found.image, relevance.transposed())),
    )


def test_examples_are_the_best_and_the_worst(searched):
    found, relevance, ranks, _, margin = searched
    kinds = examples(
        found.text, found.image, relevance.transposed(), ranks.text_to_image, margin,
        np.ones(len(found.owner), bool), found.owner,
    )  # fmt: skip
    scores = found.text @ found.image.T
    for kind in kinds.values():
        assert len(kind) == 6
        assert len({found.owner[one["query"]] for one in kind}) == 6  # an image once
        for one in kind:
            query, own = one["query"], int(found.owner[one["query"]])
            assert one["rank"] == ranks.text_to_image[query] == one["own"][0]["rank"]
            assert [of["row"] for of in one["own"]] == [own]
            assert [of["row"] for of in one["results"]] == np.argsort(-scores[query])[:5].tolist()
            assert [of["right"] for of in one["results"]] == [of["row"] == own for of in one["results"]]
    assert kinds["worst"][0]["rank"] == ranks.text_to_image.max()
    assert {one["rank"] for one in kinds["best"]} == {1}
    assert margin[kinds["best"][0]["query"]] == margin.max()
    median = int(np.median(ranks.text_to_image))
    assert abs(kinds["typical"][0]["rank"] - median) <= 1
    missed = np.where(ranks.text_to_image > 1, margin, -np.inf)
    assert kinds["near"][0]["query"] == missed.argmax()


def test_an_image_that_can_be_shown_goes_first(searched):
    found, relevance, ranks, margin, _ = searched
    shown = np.zeros(50, bool)
    shown[[3, 7]] = True
    kinds = examples(
        found.image, found.text, relevance, ranks.image_to_text, margin, shown,
        np.arange(50),
    )  # fmt: skip
    for kind in ("best", "typical", "worst"):
        assert {one["query"] for one in kinds[kind][:2]} == {3, 7}
    own = kinds["best"][0]["own"]
    assert [of["row"] for of in own] == sorted(
        np.flatnonzero(found.owner == kinds["best"][0]["query"]), key=lambda row: own_rank(own, row)
    )


def own_rank(own, row):
    return next(of["rank"] for of in own if of["row"] == row)


def test_ties_stand_before_the_right_answer():
    same = embeddings(12, collapsed=True)
    relevance = Relevance.by_owner(same.owner, 12)
    ranks = retrieve(same.image, same.text, same.owner)
    kinds = examples(
        same.image, same.text, relevance, ranks.image_to_text, np.zeros(12, np.float32), np.ones(12, bool),
        np.arange(12),
    )  # fmt: skip
    for one in kinds["worst"]:
        others = len(same.owner) - int((same.owner == one["query"]).sum())
        assert one["rank"] == others + 1 == ranks.image_to_text[one["query"]]
        assert not any(of["right"] for of in one["results"])
