"""Twins of captions: what the rules make of them, and scenes whose truth is known, where a perfect model has 100."""

import numpy as np
import pytest

from pairjepa.metrics.hard_negatives import compare_hard_negatives, evaluate_hard_negatives, margins
from pairjepa.pairs.caption_twins import KINDS, make_twins
from pairjepa.pairs.sources import shapes

FILLER = [
    *(
        "a dog on the grass",
        "a cat in the house",
        "the man is here",
        "the woman is there",
        "a ball on the table",
    ),
    *("two dogs in the snow", "three cats on a bed", "a dog under the bed", "the house by the lake"),
    *("a red ball near the dog", "a blue ball behind the house", "the big man", "the small man on a bed"),
    *("a big dog", "a big house", "a big cat", "a small dog", "a small cat", "a small house"),
    *("the dog is big", "the cat is small", "the man by a dog", "a man in a house", "the table in the snow"),
]


def twins_of(caption: str, tries: int = 300) -> dict[str, set[str]]:
    """What several draws make of a caption, among others whose images are other ones."""
    captions = [caption, *FILLER]
    found: dict[str, set[str]] = {}
    for seed in range(tries):
        for twin in make_twins(captions, np.arange(len(captions)), seed=seed):
            if twin.caption == 0:
                found.setdefault(twin.kind, set()).add(twin.text)
    return found


def test_a_twin_differs_in_one_thing():
    found = twins_of("A red cat on the table .")
    assert found["colour"] == {"A blue cat on the table ."}
    assert found["relation"] == {f"A red cat {word} the table ." for word in ("under", "near", "behind")}
    assert found["nouns exchanged"] == {"A red table on the cat ."}
    assert "A red dog on the table ." in found["noun"]
    assert not {"colours exchanged", "adjectives exchanged", "number", "side"} & found.keys()


@pytest.mark.parametrize(
    ("caption", "kind", "twins"),
    [
        ("two men in the snow", "number", {"three men in the snow"}),
        ("the man to the left", "side", set()),  # no caption says "right"
        ("a red ball and a blue house", "colours exchanged", {"a blue ball and a red house"}),
        ("a red and blue ball", "colours exchanged", set()),  # of one thing
        ("a big man and a small dog", "adjectives exchanged", {"a small man and a big dog"}),
        ("a man and a woman", "nouns exchanged", set()),  # means the same
        ("two dogs by a man", "nouns exchanged", set()),  # "two man"
        ("an orange ball in the house", "colour", {f"a {c} ball in the house" for c in ("red", "blue")}),
        ("Ein Hund im Gras", "noun", set()),
    ],
)
def test_what_each_kind_makes(caption: str, kind: str, twins: set[str]) -> None:
    assert twins_of(caption).get(kind, set()) == twins


def test_what_reads_as_a_caption_or_is_said_of_the_image_is_no_twin():
    captions = ["A dog on the grass.", "a cat on the grass", "the cat is here", "the dog is here", "a tree"]
    apart = {twin.text for seed in range(50) for twin in make_twins(captions, np.arange(5), seed=seed)}
    assert "A cat on the grass." not in apart  # the second caption
    assert "the cat is here" not in apart
    of_one = {
        twin.kind for seed in range(50) for twin in make_twins(captions[:4], np.zeros(4, int), seed=seed)
    }
    assert "noun" not in of_one


def test_each_word_stands_for_the_other_equally_often():
    """So that to know which word is common is of no use."""
    captions = [f"{number} dogs in field {row}" for row, number in enumerate(["two"] * 900 + ["three"] * 100)]
    twins = [t for t in make_twins(captions, np.arange(1000), most=10_000) if t.kind == "number"]
    common = sum(captions[twin.caption].startswith("two") for twin in twins)
    assert len(twins) > 120
    assert abs(common - len(twins) / 2) < 4 * np.sqrt(len(twins) / 4)


def test_twins_depend_on_captions_and_seed_alone_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    captions = [c for index in range(80) for c in shapes.draw(3, index)[1]]
    owner = np.repeat(np.arange(80), 5)
    twins = make_twins(captions, owner)
    assert twins == make_twins(captions, owner) != make_twins(captions, owner, seed=1)
    with monkeypatch.context() as patch:
        patch.setattr("pairjepa.pairs.caption_twins.MOST_CAPTIONS", 100)
        rows = {twin.caption for twin in make_twins(captions, owner)}
    assert len(rows) > 50
    assert len(set(owner[list(rows)])) == 20  # all captions of 20 images
    few = make_twins(captions, owner, most=5)
    assert set(few) <= set(twins)
    assert {kind: sum(t.kind == kind for t in few) for kind in KINDS} == dict.fromkeys(KINDS, 5)


@pytest.fixture(scope="module")
def scenes() -> tuple[list[str], list[str], np.ndarray]:
    names = [f"shapes-7-{index:06d}" for index in range(60)]
    captions = [caption for index in range(60) for caption in shapes.draw(7, index)[1]]
    return names, captions, np.repeat(np.arange(60), 5)


def test_a_model_that_knows_the_truth_has_100_and_a_blind_one_has_not(scenes) -> None:
    """Embeddings of truth: an image is itself, a text those images that it is true of."""
    names, captions, owner = scenes
    twins = make_twins(captions, owner, holds=lambda image, text: shapes.holds(names[image], text))

    def true_of(texts):
        return np.array([[shapes.holds(name, text) for name in names] for text in texts], np.float32)

    model = np.eye(60, dtype=np.float32), true_of(captions), true_of([twin.text for twin in twins])
    found = evaluate_hard_negatives(
        [twin.kind for twin in twins], np.array([t.caption for t in twins]), owner, model, model, draws=20
    )
    assert set(found) == {"all", *KINDS}
    assert all(one["accuracy"] == one["cca"] == 100 for one in found.values())
    assert found["all"]["accuracy_ci"] == [100, 100]
    assert found["all"]["over_cca"] == {"difference": 0, "ci": [0, 0]}
    assert found["all"]["blind"] < 10
    assert found["all"]["twins"] == len(twins) == sum(found[kind]["twins"] for kind in KINDS)


def test_every_caption_holds_and_what_differs_does_not(scenes):
    names, captions, owner = scenes
    assert all(shapes.holds(names[image], text) for image, text in zip(owner, captions, strict=True))
    single = next(c for c in captions if c.startswith("one "))
    name = names[owner[captions.index(single)]]
    shape = next(word for word in shapes.SHAPES if word in single)
    other = next(word for word in shapes.SHAPES if word not in single)
    assert not shapes.holds(name, single.replace(shape, other))
    assert not shapes.holds(name, f"two shapes and one is a {shape}")
    assert not shapes.holds(name, "a picture")


def test_numbers_are_those_of_a_loop_and_ties_count_against_the_model():
    rng = np.random.default_rng(0)
    image, text, twin = (rng.normal(size=(n, 4)).astype(np.float32) for n in (6, 12, 27))
    owner, caption = np.repeat(np.arange(6), 2), rng.integers(12, size=27)
    twin[0] = text[caption[0]]
    kinds = ["a", "b", "a", "a", "b", "b", "b", "a", "a"] * 3
    right = [
        float(image[owner[c]] @ text[c]) > float(image[owner[c]] @ t)
        for c, t in zip(caption, twin, strict=True)
    ]
    found = evaluate_hard_negatives(kinds, caption, owner, (image, text, twin), None, draws=200)
    assert not right[0]
    assert found["all"]["accuracy"] == pytest.approx(100 * np.mean(right))
    assert found["b"]["accuracy"] == pytest.approx(
        100 * np.mean([r for r, k in zip(right, kinds, strict=True) if k == "b"])
    )
    assert found["all"]["cca"] is None
    low, high = found["all"]["accuracy_ci"]
    assert low <= found["all"]["accuracy"] <= high
    beside = evaluate_hard_negatives(
        kinds, caption, owner, (image, text, twin), (image, -text, twin), draws=200
    )
    gap = beside["b"]["over_cca"]
    assert gap["difference"] == pytest.approx(beside["b"]["accuracy"] - beside["b"]["cca"])
    assert gap["ci"][0] <= gap["difference"] <= gap["ci"][1]


def test_one_image_has_no_other():
    one = np.ones((1, 2), np.float32)
    found = evaluate_hard_negatives(["a"], np.array([0]), np.array([0]), (one, one, -one), None, draws=5)
    assert found["a"] == {
        "accuracy": 100,
        "accuracy_ci": None,
        "blind": None,
        "prior": 100,
        "cca": None,
        "over_cca": None,
        "twins": 1,
    }


def test_runs_are_compared_on_the_same_twins():
    first, second = np.repeat([1.0, -1], 10), np.repeat([1.0, 1, 1, -1], 5)
    kinds, image = ["a"] * 10 + ["b"] * 10, np.arange(20)
    found = compare_hard_negatives({"one": [first], "two": [second, first]}, kinds, image, draws=100)
    assert found["runs"]["two"] == {"all": 62.5, "a": 100, "b": 25}
    gaps = found["differences"]["two"]
    assert gaps["all"]["difference"] == pytest.approx(12.5)
    assert gaps["a"] == {"difference": 0, "ci": [0, 0], "seed_ci": None}
    assert 0 < gaps["b"]["ci"][0] < 25 < gaps["b"]["ci"][1] < 50
    few = compare_hard_negatives({"one": [first[1:]], "two": [second[1:]]}, kinds[1:], image[1:], draws=100)
    assert few["differences"]["two"]["a"]["ci"] is None, "of nine"
    assert few["differences"]["two"]["b"]["ci"] is not None
    seeds = {"one": [first, first], "two": [second, second]}
    assert compare_hard_negatives(seeds, kinds, image, draws=9)["differences"]["two"]["b"]["seed_ci"] == [
        50,
        50,
    ]


def test_margins_are_the_lead_of_the_right_caption():
    unit = np.eye(3, dtype=np.float32)
    assert margins((unit, unit, unit[[1, 2]]), np.array([0, 2]), np.array([0, 2])).tolist() == [1, 0]
