"""Steps in order, each against the bank as it is met; every vector by itself and train; what the steps are good for."""

import numpy as np
import pytest
from banks import made, negated_distances, train, unit

from isckit.config import Ensemble, Network, Offset, Push, Recipe, Stretch, Subtract
from isckit.types import BadInput, Role, RuleViolation
from isckit.vectors.normalise import averaged, fit_normaliser, normalise, push, stretch, subtract, subtract_from_bank

NES = Subtract(k=4, beta=0.3)
LAST = [Stretch(n=3, alpha=2.0), Push(k=8), Push(k=8, by="vector"), Offset()]
CHAINS = [(), (NES,), *((step,) for step in LAST), *((NES, step) for step in LAST)]
CHAINS += [(Subtract(k=4, dba=3, iterations=2), Stretch(n=3)), (Subtract(k=4, sides="queries"), Offset())]


def steps(chain):
    return "+".join(step.kind for step in chain) or "none"


def after(embeddings, bank, *chain):
    return normalise(embeddings, fit_normaliser(bank, chain))


@pytest.mark.parametrize("role", [Role.REFERENCE, Role.TRAIN])
def test_references_and_train_images_are_subtracted_and_never_stretched(role):
    bank, x = train(unit(1, 80)), made(role, unit(2, 12))
    got = after(x, bank, NES, Stretch())
    assert np.array_equal(got.vectors, subtract(x.vectors, bank, k=4, beta=0.3))
    assert (got.role, got.ids.tolist()) == (role, x.ids.tolist())


@pytest.mark.parametrize("last", LAST[:3], ids=lambda step: step.kind)
def test_a_step_after_subtraction_compares_queries_with_a_subtracted_bank(last):
    bank, q = train(unit(1, 80)), made(Role.QUERY, unit(2, 12))
    once, others = subtract(q.vectors, bank, k=4, beta=0.3), subtract_from_bank(bank, k=4, beta=0.3)
    settings = {key: value for key, value in vars(last).items() if key != "kind" and not key.startswith("_")}
    step = {"stretch": stretch, "push": push}[last.kind]
    got = after(q, bank, NES, last).vectors
    assert np.array_equal(got, step(once, others, **settings))
    assert np.abs(got - step(once, bank, **settings)).max() > 0.01, "the data must tell the two banks apart"


def test_averaged_negatives_are_made_of_the_bank_as_the_step_meets_it():
    bank, q = train(unit(1, 80)), made(Role.QUERY, unit(2, 12))
    negatives = averaged(bank, k=3, power=3.0)
    assert np.array_equal(
        after(q, bank, Subtract(k=4, beta=0.3, dba=3)).vectors, subtract(q.vectors, negatives, k=4, beta=0.3)
    )
    others = subtract_from_bank(bank, negatives, k=4, beta=0.3)
    second = averaged(others, k=2, power=1.0)
    first = Subtract(k=4, beta=0.3, dba=3)
    twice = after(q, bank, first, Subtract(k=5, beta=0.2, dba=2, dba_power=1.0)).vectors
    once = subtract(q.vectors, negatives, k=4, beta=0.3)
    assert np.array_equal(twice, subtract(once, second, k=5, beta=0.2))


def test_subtraction_of_queries_alone_leaves_references_and_the_bank_of_later_steps():
    bank, q, r = train(unit(1, 80)), made(Role.QUERY, unit(2, 12)), made(Role.REFERENCE, unit(3, 9))
    chain = Subtract(k=4, beta=0.3, sides="queries"), Stretch(n=3, alpha=2.0)
    once = subtract(q.vectors, bank, k=4, beta=0.3)
    assert np.array_equal(after(r, bank, *chain).vectors, r.vectors)
    assert np.array_equal(after(q, bank, *chain).vectors, stretch(once, bank, n=3, alpha=2.0))


@pytest.mark.parametrize("chain", CHAINS, ids=steps)
def test_a_vector_is_bit_identical_alone_and_in_company_and_inputs_stay(chain):
    bank, q, r = train(unit(1, 600, 40)), made(Role.QUERY, unit(2, 60, 40)), made(Role.REFERENCE, unit(3, 30, 40))
    before = [side.vectors.tobytes() for side in (bank, q, r)]
    normaliser = fit_normaliser(bank, chain)
    for side in (q, r):
        together = normalise(side, normaliser).vectors
        assert together.dtype == np.float32
        for rows in (np.array([5]), np.arange(0, 30, 2), np.arange(30)[::-1]):
            assert normalise(side.take(rows), normaliser).vectors.tobytes() == together[rows].tobytes()
    assert [side.vectors.tobytes() for side in (bank, q, r)] == before


@pytest.mark.parametrize("chain", CHAINS, ids=steps)
def test_references_keep_unit_length_and_one_coordinate_is_added_at_most_to_both_sides(chain):
    bank, q, r = train(unit(1, 100)), made(Role.QUERY, unit(2, 20)), made(Role.REFERENCE, unit(3, 9))
    sides = [after(side, bank, *chain).vectors for side in (q, r)]
    offset_added = bool(chain) and chain[-1].kind == "offset"
    assert {side.shape[1] for side in sides} == {16 + offset_added}
    np.testing.assert_allclose(np.linalg.norm(sides[1].astype(np.float64), axis=1), 1, atol=1e-6)
    if all(step.kind == "subtract" for step in chain):
        np.testing.assert_allclose(np.linalg.norm(sides[0].astype(np.float64), axis=1), 1, atol=1e-6)


def test_an_offset_fits_below_the_widest_descriptor_only():
    members = (Network(),)
    Recipe(name="fits", members=members, ensemble=Ensemble(dim=255), normalise=(Offset(),))
    with pytest.raises(ValueError, match="below 256"):
        Recipe(name="wide", members=members, ensemble=Ensemble(dim=256), normalise=(Offset(),))


def test_no_steps_change_nothing():
    q = made(Role.QUERY, unit(1, 4))
    assert np.array_equal(after(q, train(unit(2, 9))).vectors, q.vectors)


@pytest.mark.parametrize("role", [Role.QUERY, Role.REFERENCE])
@pytest.mark.parametrize("chain", CHAINS, ids=steps)
def test_banks_that_may_not_be_fitted_on_are_refused_by_every_step(role, chain):
    with pytest.raises(RuleViolation):
        fit_normaliser(made(role, unit(2, 30)), chain)


def test_a_bank_smaller_than_the_neighbours_asked_for_is_refused():
    with pytest.raises(BadInput, match="11 neighbours from a bank of 9"):
        fit_normaliser(train(unit(1, 9)), (Subtract(k=10), Stretch()))


def toy(seed=0, clusters=40, each=50, copies=300, d=32):
    """Train, references and queries in clusters of uneven tightness: half of the queries are copies of references."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((clusters, d))
    spread = np.geomspace(0.3, 3, clusters)

    def drawn(n):
        which = rng.integers(clusters, size=n)
        return centres[which] + spread[which, None] * rng.standard_normal((n, d))

    bank, references, strangers = drawn(clusters * each), drawn(clusters * each), drawn(copies)
    truth = rng.permutation(len(references))[:copies]
    edited = references[truth] + 0.8 * rng.standard_normal((copies, d))
    queries = np.concatenate([edited, strangers])
    sides = [(x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in (bank, references, queries)]
    return train(sides[0]), made(Role.REFERENCE, sides[1]), made(Role.QUERY, sides[2]), truth


def micro_average_precision(queries, references, truth):
    """Of the nearest reference of each query, all queries in one list."""
    scores = negated_distances(queries, references)
    best = scores.argmax(axis=1)
    right = np.zeros(len(queries), bool)
    right[: len(truth)] = best[: len(truth)] == truth
    hits = right[np.argsort(-scores.max(axis=1), kind="stable")]
    return float((hits.cumsum() / np.arange(1, len(hits) + 1))[hits].sum() / len(truth))


def test_on_clusters_of_uneven_tightness_the_steps_lift_the_global_list_and_a_small_alpha_hurts():
    bank, references, queries, truth = toy()

    def figure(*chain):
        normaliser = fit_normaliser(bank, chain)
        return micro_average_precision(
            normalise(queries, normaliser).vectors, normalise(references, normaliser).vectors, truth
        )

    none = figure()
    assert figure(Offset()) > none + 0.15
    assert figure(Stretch(alpha=2.5)) > none + 0.12
    assert figure(Push(by="coordinate")) > none + 0.06 and figure(Push(by="vector")) > none + 0.06
    assert figure(Subtract()) > none + 0.04
    assert figure(Stretch(alpha=0.5)) < none - 0.2
