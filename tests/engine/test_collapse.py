import itertools

import pytest
import torch
import torch.nn.functional as F

from isckit.engine.collapse import statistics, warning


def unit(rows, dim, seed=0):
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_cosines_equal_the_mean_over_all_pairs():
    x, labels = unit(9, 5), torch.tensor([4, 4, 7, 4, 1, 7, 9, 9, 2])
    pairs = [(labels[i] == labels[j], float(x[i] @ x[j])) for i, j in itertools.combinations(range(9), 2)]
    for name, same in (("positive", True), ("negative", False)):
        of_kind = [cosine for equal, cosine in pairs if bool(equal) is same]
        assert statistics(x, labels)[name] == pytest.approx(sum(of_kind) / len(of_kind), abs=1e-6)


@pytest.mark.parametrize("shape", [(7, 5), (5, 9)])
def test_spread_is_the_participation_ratio_of_the_eigenvalues(shape):
    x = unit(*shape)
    values = torch.linalg.eigvalsh(torch.cov(x.T.double()))
    expected = float(values.sum() ** 2 / values.square().sum()) / min(shape[0] - 1, shape[1])
    assert statistics(x, torch.arange(shape[0]))["spread"] == pytest.approx(expected, rel=1e-5)


def test_constant_embeddings_have_no_spread():
    found = statistics(F.normalize(torch.ones(8, 4), dim=-1), torch.arange(4).repeat(2))
    assert found == {"spread": 0.0, "positive": pytest.approx(1), "negative": pytest.approx(1)}


def test_orthogonal_images_use_all_directions():
    found = statistics(torch.eye(6).repeat(2, 1), torch.arange(6).repeat(2))
    assert found == {"positive": pytest.approx(1), "negative": pytest.approx(0), "spread": pytest.approx(5 / 6)}


def test_one_line_is_one_direction():
    x = torch.zeros(40, 16)
    x[:, 3] = torch.tensor([1.0, -1.0]).repeat(20)
    assert statistics(x, torch.arange(40))["spread"] == pytest.approx(1 / 16)


def test_random_embeddings_are_spread_and_do_not_alarm():
    found = statistics(unit(512, 32), torch.arange(512) // 2)
    assert found["spread"] > 0.9 and abs(found["negative"]) < 0.01
    assert warning({"epoch": 0, **found}) is None


def test_a_kind_of_pair_that_does_not_occur_is_left_out():
    assert set(statistics(unit(4, 8), torch.arange(4))) == {"negative", "spread"}
    assert set(statistics(unit(4, 8), torch.zeros(4))) == {"positive", "spread"}


def test_statistics_leave_the_gradient_alone():
    x = unit(4, 8).requires_grad_()
    assert all(isinstance(value, float) for value in statistics(x, torch.arange(4)).values())


WELL = {"epoch": 3, "positive": 0.8, "negative": 0.1, "spread": 0.3, "loss": 1.0}


def test_warnings_name_the_figures_seen_and_what_to_do():
    assert warning(WELL) is None
    for change, figure in (
        ({"negative": 0.97, "positive": 0.999}, "0.970"),
        ({"negative": 0.31, "positive": 0.32}, "0.320 against 0.310"),
        ({"spread": 0.011}, "1.1%"),
    ):
        text = warning(WELL | change)
        assert text is not None and figure in text and "epoch 4" in text and "optim.lr" in text


def test_copies_as_far_as_others_are_no_sign_in_the_first_epoch():
    close = {"epoch": 0, "positive": 0.3, "negative": 0.3}
    assert warning(close) is None
    assert warning(close | {"epoch": 1}) is not None


def test_a_log_without_pairs_is_judged_by_what_it_has():
    assert warning({"epoch": 2, "loss": 0.5}) is None
    assert warning({"epoch": 2, "negative": 0.99}) is not None
