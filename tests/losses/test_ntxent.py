import math

import pytest
import torch
from losses.making import batch, outputs, unit, value_and_gradient

from isckit import config
from isckit.losses.ntxent import NtXentObjective, matching

PAIRS = [0, 0, 1, 1, 2, 2]


def parts_by_loops(embeddings, matches, temperature):
    nce, koleo = [], []
    for i, x in enumerate(embeddings):
        cosines = [x @ y for y in embeddings]
        others = [c for j, c in enumerate(cosines) if not matches[i][j]]
        positives = [c for j, c in enumerate(cosines) if matches[i][j] and j != i]
        against = sum((c / temperature).exp() for c in others)
        shares = [(c / temperature).exp() / ((c / temperature).exp() + against) for c in positives]
        if shares:
            nce.append(sum(-share.log() for share in shares) / len(shares))
        koleo.append(-(2 - 2 * max(others)).sqrt().log())
    return sum(nce) / len(nce), sum(koleo) / len(koleo)


@pytest.mark.parametrize("labels", [PAIRS, [0, 0, 0, 1, 1, 2], [4, 3, 4, 3, 4, 9]])
@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_value_and_gradient_equal_plain_loops(labels, temperature):
    embeddings = unit(6, seed=3).requires_grad_()
    matches = [[a == b for b in labels] for a in labels]
    nce, koleo = parts_by_loops(embeddings, matches, temperature)
    expected = nce + 7 * koleo
    expected.backward()
    objective = NtXentObjective(config.NtXent(temperature=temperature, koleo=7))
    parts = objective(outputs(embeddings.detach()), batch(labels))
    assert float(parts["nce"]) == pytest.approx(nce.item(), rel=1e-5)
    assert float(parts["koleo"]) == pytest.approx(koleo.item(), rel=1e-4)
    value, gradient = value_and_gradient(objective, embeddings.detach(), labels)
    assert value == pytest.approx(expected.item(), rel=1e-4)
    assert torch.allclose(gradient, embeddings.grad, atol=1e-4)


def test_of_orthogonal_images_with_equal_views():
    embeddings = torch.eye(8)[PAIRS]
    parts = NtXentObjective(config.NtXent(temperature=0.5))(outputs(embeddings), batch(PAIRS))
    assert float(parts["nce"]) == pytest.approx(math.log((math.exp(2) + 4) / math.exp(2)), rel=1e-5)
    assert float(parts["koleo"]) == pytest.approx(-math.log(math.sqrt(2)), rel=1e-5)


def test_of_equal_embeddings_it_counts_the_others_and_the_least_distance():
    objective = NtXentObjective(config.NtXent())
    parts = objective(outputs(torch.eye(8)[[0] * 6]), batch(PAIRS))
    assert float(parts["nce"]) == pytest.approx(math.log(1 + 4), rel=1e-5)
    assert float(parts["koleo"]) == pytest.approx(-math.log(1e-3), rel=1e-5)
    assert torch.isfinite(value_and_gradient(objective, torch.eye(8)[[0] * 6], PAIRS)[1]).all()


def test_other_positives_do_not_stand_in_the_denominator():
    # Three copies of one image, one of another: with the other positive in the denominator it would be log(3).
    parts = NtXentObjective(config.NtXent())(outputs(torch.eye(8)[[0] * 4]), batch([0, 0, 0, 1]))
    assert float(parts["nce"]) == pytest.approx(math.log(2), rel=1e-5)


def test_koleo_is_the_distance_to_the_nearest_image_that_is_no_match():
    embeddings = torch.tensor([[1.0, 0], [1.0, 0], [0.6, 0.8], [0.6, 0.8]])
    parts = NtXentObjective(config.NtXent())(outputs(embeddings), batch([0, 0, 1, 1]))
    assert float(parts["koleo"]) == pytest.approx(-math.log(math.sqrt(2 - 1.2)), rel=1e-5)


def shares(*table):
    return torch.tensor(table, dtype=torch.float32)


def test_images_match_that_have_any_share_in_common_by_label():
    # Row 0 is image 0 with a share of row 3 (image 1): it matches both views of both; rows 4 and 5 are apart.
    weights = torch.eye(6)
    weights[0] = shares(0.7, 0, 0, 0.3, 0, 0)
    expected = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2), torch.ones(2, 2)).bool()
    expected[0, :4] = expected[:4, 0] = True
    assert torch.equal(matching(batch(PAIRS, weights=weights)), expected)


def test_weights_of_a_batch_without_mixed_images_change_nothing():
    objective = NtXentObjective(config.NtXent())
    plain = value_and_gradient(objective, unit(6), PAIRS)
    weighted = value_and_gradient(objective, unit(6), PAIRS, weights=torch.eye(6))
    assert plain[0] == weighted[0] and torch.equal(plain[1], weighted[1])


def test_mixed_images_equal_plain_loops():
    weights = torch.eye(6)
    weights[1] = shares(0, 0.4, 0, 0, 0.6, 0)
    matches = matching(batch(PAIRS, weights=weights)).tolist()
    assert matches[1] == [True, True, False, False, True, True]
    nce, koleo = parts_by_loops(unit(6), matches, 0.05)
    parts = NtXentObjective(config.NtXent())(outputs(unit(6)), batch(PAIRS, weights=weights))
    assert float(parts["nce"]) == pytest.approx(float(nce), rel=1e-5)
    assert float(parts["koleo"]) == pytest.approx(float(koleo), rel=1e-4)
