"""Descriptors are searched as the contest did, whatever they are read from, and scored as matches."""

import numpy as np
import pytest

from isckit.judge.score.score import descriptor_matches, score_descriptors
from isckit.submission import open_descriptors, write_descriptors
from isckit.types import BadInput, Embeddings, GroundTruth, Role


def truth(pairs: list[tuple[int, int]], distractors: list[int] = ()) -> GroundTruth:
    queries, references = np.array(pairs).T
    listed = np.char.mod("Q%05d", np.union1d(queries, np.array(distractors, int)))
    return GroundTruth(np.char.mod("Q%05d", queries), np.char.mod("R%06d", references), listed)


def described(role: Role, letter: str, numbers: list[int], vectors: np.ndarray) -> Embeddings:
    return Embeddings.whole(role, np.char.mod(letter, np.array(numbers)), vectors.astype(np.float32))


@pytest.fixture
def descriptors():
    rng = np.random.default_rng(3)
    references = rng.normal(size=(60, 8))
    queries = rng.normal(size=(12, 8))
    queries[:4] = references[[5, 6, 7, 8]] + 0.05 * rng.normal(size=(4, 8))
    return (
        described(Role.QUERY, "Q%05d", list(range(12)), queries),
        described(Role.REFERENCE, "R%06d", list(range(60)), references),
    )


def closest(queries: Embeddings, references: Embeddings, rows: list[int], n: int) -> set[tuple[str, str]]:
    every = [
        (float(np.square(queries.vectors[q].astype(float) - references.vectors[r]).sum()), q, r)
        for q in rows
        for r in range(len(references.ids))
    ]
    return {(str(queries.ids[q]), str(references.ids[r])) for _, q, r in sorted(every)[:n]}


def test_descriptors_are_searched_with_the_official_budget_over_labelled_queries(descriptors):
    queries, references = descriptors
    pairs = truth([(0, 5), (1, 6), (3, 8)], [7])
    found, protocol = descriptor_matches(queries, references, pairs)
    assert (protocol.budget, protocol.references, protocol.dimension, protocol.ties_at_cut) == (40, 60, 8, 0)
    assert set(zip(found.query_ids.tolist(), found.reference_ids.tolist(), strict=True)) == closest(
        queries, references, [0, 1, 3, 7], 40
    )
    q, r = queries.ids.tolist().index(found.query_ids[0]), references.ids.tolist().index(found.reference_ids[0])
    squared = np.square(queries.vectors[q].astype(float) - references.vectors[r]).sum()
    assert found.scores[0] == pytest.approx(-squared, rel=1e-6)
    report = score_descriptors(queries, references, pairs)
    assert (report.average_precision, report.rows_kept) == (1.0, 40)
    assert "global: 40 pairs, closest pairs of all, 0 ties cut; dimension 8" in report.summary()


def test_knn_protocol_keeps_k_references_of_each_query(descriptors):
    queries, references = descriptors
    found, protocol = descriptor_matches(queries, references, truth([(0, 5)], [7, 9]), protocol="knn", k=3)
    assert protocol.budget == 9
    assert {str(q): int((found.query_ids == q).sum()) for q in np.unique(found.query_ids)} == {
        "Q00000": 3,
        "Q00007": 3,
        "Q00009": 3,
    }
    for row in (0, 7, 9):
        own = found.query_ids == queries.ids[row]
        assert set(zip(found.query_ids[own].tolist(), found.reference_ids[own].tolist(), strict=True)) == closest(
            queries, references, [row], 3
        )


def test_fewer_pairs_than_the_budget_are_all_kept(descriptors):
    queries, references = descriptors
    few = references.take(np.arange(3, 8))
    report = score_descriptors(queries, few, truth([(0, 5), (3, 8)]))
    assert (report.rows_kept, report.n_pos, report.recall_at_10) == (10, 2, 0.5)


def test_descriptors_score_the_same_from_the_file(descriptors, tmp_path):
    queries, references = descriptors
    pairs = truth([(0, 5), (1, 6), (3, 9)], [7])
    write_descriptors(tmp_path / "d.h5", queries, references)
    with open_descriptors(tmp_path / "d.h5") as sides:
        assert score_descriptors(*sides, pairs) == score_descriptors(queries, references, pairs)


def test_descriptors_of_another_phase_are_refused(descriptors):
    with pytest.raises(BadInput, match="no query in common"):
        score_descriptors(*descriptors, truth([(50_000, 1)]))


def test_ties_at_the_cut_are_counted_and_go_to_the_smaller_id(descriptors):
    queries, references = descriptors
    equal = references.with_vectors(np.ones_like(references.vectors))
    found, protocol = descriptor_matches(queries, equal, truth([(0, 5)]))
    assert found.reference_ids.tolist() == [f"R{k:06d}" for k in range(10)]
    assert protocol.ties_at_cut == 50
    assert "50 ties cut" in protocol.candidates
