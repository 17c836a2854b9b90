"""InfoNCE against a loop over samples, values and gradients."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from pairjepa.config.settings import ObjectiveConfig
from pairjepa.objectives import TERMS, Labels, Objective, terms
from pairjepa.objectives.info_nce import ENTRIES, info_nce, positives_of
from pairjepa.util.errors import UsageError


def naive(prediction, target, temperature, positives, smoothing):
    """The formula, one number at a time."""
    total = torch.zeros((), dtype=prediction.dtype)
    count = len(prediction)
    for rows, columns, table in ((prediction, target, positives), (target, prediction, positives.T)):
        for i in range(count):
            scores = [torch.dot(rows[i], columns[j]) / temperature for j in range(count)]
            log_sum = torch.log(sum(torch.exp(s) for s in scores))
            own = [j for j in range(count) if table[i, j]]
            for j in range(count):
                share = (1 - smoothing) * (1 / len(own) if j in own else 0) + smoothing / count
                total = total - share * (scores[j] - log_sum) / count
    return total / 2


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("groups", [[0, 1, 2, 3, 4, 5], [0, 0, 1, 2, 2, 2]])
def test_value_and_gradient_equal_the_loop(smoothing, groups):
    torch.manual_seed(0)
    leaves = [torch.randn(6, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    labels = Labels(torch.tensor(groups), torch.arange(6))
    results = []
    for function in (
        lambda p, t: info_nce(p, t, labels=labels, temperature=0.2, label_smoothing=smoothing),
        lambda p, t: naive(p, t, 0.2, positives_of(labels), smoothing),
    ):
        value = function(*(F.normalize(leaf, dim=1) for leaf in leaves))
        results.append((value, *torch.autograd.grad(value, leaves)))
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-12)


LABELS = Labels(torch.tensor([0, 0, 1, 2, 2, 3, 4, 5, 6, 0]), torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 2, 8]))


def unit_vectors():
    generator = torch.Generator().manual_seed(0)
    sides = torch.randn(2, 10, 4, generator=generator, dtype=torch.float64)
    return [F.normalize(side, dim=1).requires_grad_() for side in sides]


@pytest.mark.parametrize("entries", [1, 30, 35, 99])
def test_blocks_add_up_to_the_whole(entries):
    """Also where a block is one row, and where the last one is shorter."""
    leaves = [*unit_vectors(), torch.tensor(0.2, dtype=torch.float64, requires_grad=True)]
    settings = {"labels": LABELS, "temperature": leaves[2], "label_smoothing": 0.1}
    blocks, whole = (info_nce(*leaves[:2], **settings, entries=size) for size in (entries, ENTRIES))
    torch.testing.assert_close(blocks, whole, rtol=1e-12, atol=0)
    for one, other in zip(
        torch.autograd.grad(blocks, leaves), torch.autograd.grad(whole, leaves), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


class Largest(TorchDispatchMode):
    """The size of the largest tensor that anything gives."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return out


def test_memory_does_not_grow_with_the_square_of_the_batch():
    """Nothing is larger than a block, forward and backward; nor is there a table of positives."""
    samples = 1_000
    sides = [torch.randn(samples, 4, requires_grad=True) for _ in range(2)]
    with Largest() as largest:
        labels = Labels(torch.arange(samples), torch.arange(samples))
        info_nce(*sides, labels=labels, temperature=0.1, entries=5_000).backward()
    assert largest.numbers == 5_000
    assert all(side.grad is not None for side in sides)


def test_one_positive_is_cross_entropy():
    torch.manual_seed(1)
    p, t = F.normalize(torch.randn(5, 3), dim=1), F.normalize(torch.randn(5, 3), dim=1)
    logits, labels = p @ t.T / 0.07, torch.arange(5)
    expected = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    value = info_nce(p, t, labels=Labels(labels, labels), temperature=0.07)
    torch.testing.assert_close(value, expected)


def test_captions_of_one_image_and_equal_strings_are_positives():
    table = positives_of(Labels(torch.tensor([7, 7, 8, 9]), torch.tensor([0, 1, 1, 2])))
    expected = [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]]
    assert table.tolist() == [[bool(x) for x in row] for row in expected]


def test_a_second_caption_of_the_image_is_not_pushed_away():
    """Two samples of one image whose embeddings agree perfectly: no gradient drives them apart."""
    same = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), dim=1).requires_grad_()
    labels = Labels(torch.tensor([0, 0]), torch.tensor([0, 1]))
    value = info_nce(same, same.detach(), labels=labels, temperature=0.1)
    assert value.item() == pytest.approx(math.log(2))
    torch.testing.assert_close(torch.autograd.grad(value, same)[0], torch.zeros(2, 2))


def test_a_weight_of_zero_is_never_computed(monkeypatch):
    @terms.objective("never")
    def never(prediction, target):
        raise AssertionError("computed")

    monkeypatch.setitem(TERMS, "never", TERMS.pop("never"))
    config = ObjectiveConfig(weights={"info_nce": 2.0, "never": 0.0})
    p, t = torch.randn(4, 3), torch.randn(4, 3)
    value = Objective(config)(p, t, Labels(torch.arange(4), torch.arange(4)))
    torch.testing.assert_close(value.total, 2 * value.terms["info_nce"])
    assert set(value.terms) == {"info_nce"}


def test_unknown_term_lists_close_names():
    with pytest.raises(UsageError, match="Did you mean 'info_nce'"):
        Objective(ObjectiveConfig(weights={"infonce": 1.0}))


@pytest.mark.parametrize("learn", [True, False])
def test_temperature_is_learned_only_where_asked_and_stays_in_range(learn):
    objective = Objective(ObjectiveConfig(learn_temperature=learn))
    assert objective.temperature.item() == pytest.approx(0.07)
    assert objective.log_temperature.requires_grad is learn
    with torch.no_grad():
        objective.log_temperature.fill_(-20.0)
    objective.clamp_()
    assert objective.temperature.item() == pytest.approx(0.01)


def test_shapes_in_annotations_are_checked_in_tests():
    from jaxtyping import TypeCheckError

    with pytest.raises(TypeCheckError):
        info_nce(torch.ones(3), torch.ones(3, 2), labels=LABELS, temperature=0.1)
