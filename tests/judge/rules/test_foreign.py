"""A foreign file, rule by rule: form proven, suspicion failed, everything else honestly unknown."""

from types import SimpleNamespace

import numpy as np
import pytest

from isckit.judge.rules import foreign
from isckit.judge.rules.examine import RULES
from isckit.judge.rules.foreign import MISSING, examine_file
from isckit.submission import open_descriptors, read_descriptors, write_descriptors, write_matches
from isckit.types import Embeddings, Matches, Role


def described(path, queries, references):
    write_descriptors(
        path,
        Embeddings.whole(Role.QUERY, np.char.mod("Q%05d", np.arange(len(queries))), queries.astype(np.float32)),
        Embeddings.whole(
            Role.REFERENCE, np.char.mod("R%06d", np.arange(len(references))), references.astype(np.float32)
        ),
    )
    return path


def matched(path, scores, counts):
    rng = np.random.default_rng(0)
    q = np.repeat(np.arange(len(counts)), counts)
    r = np.concatenate([rng.choice(500, size=count, replace=False) for count in counts])
    write_matches(path, Matches(np.char.mod("Q%05d", q), np.char.mod("R%06d", r), scores))
    return path


def findings(path, **options):
    found = examine_file(path, **{"phase": None, "disc": None} | options)
    assert [rule for rule, _ in found] == list(RULES)
    return {rule.number: finding for rule, finding in found}


@pytest.fixture
def honest(tmp_path):
    rng = np.random.default_rng(1)
    return described(tmp_path / "descriptors.h5", rng.normal(size=(200, 16)), rng.normal(size=(300, 16)))


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(2)
    counts = rng.integers(2, 8, size=100)
    return matched(tmp_path / "matching.csv", rng.normal(size=counts.sum()), counts)


def test_an_honest_file_keeps_form_and_leaves_every_other_rule_unknown_with_what_would_show_it(honest, table):
    for path in (honest, table):
        found = findings(path)
        assert (found["5.7"].status, found["5.7"].level) == ("passed", "proven")
        for number in found.keys() - {"5.7"}:
            assert (found[number].status, found[number].level) == ("unknown", "none")
            assert found[number].detail == MISSING[number]


def test_the_tests_and_their_values_are_listed_for_the_track_of_the_file_alone(honest, table):
    vectors, scores = findings(honest), findings(table)
    for number in ("5.5", "5.5-fit"):
        assert "query: mean" in vectors[number].examined and "(value/threshold)" in vectors[number].examined
        assert scores[number].examined == "nothing"
    assert "sum of scores by query" in scores["5.4"].examined and vectors["5.4"].examined == "nothing"


def test_a_pca_of_the_queries_fails_both_parts_of_rule_5_5_and_nothing_else(tmp_path):
    rng = np.random.default_rng(3)
    queries, references = rng.normal(size=(200, 16)) * np.arange(1, 17), rng.normal(size=(300, 16)) * np.arange(1, 17)
    mean, axes = queries.mean(axis=0), np.linalg.eigh(np.cov(queries.T))[1]
    path = described(tmp_path / "d.h5", (queries - mean) @ axes, (references - mean) @ axes)
    found = findings(path)
    assert {number for number, finding in found.items() if finding.status == "failed"} == {"5.5", "5.5-fit"}
    assert "query: mean" in found["5.5"].detail and "reference:" not in found["5.5"].detail


def test_scores_scaled_within_queries_fail_rule_5_4_and_nothing_else(tmp_path):
    rng = np.random.default_rng(4)
    counts = rng.integers(3, 8, size=100)
    scores = np.concatenate([s / s.sum() for s in (rng.uniform(size=count) for count in counts)])
    found = findings(matched(tmp_path / "m.csv", scores, counts))
    assert {number for number, finding in found.items() if finding.status == "failed"} == {"5.4"}
    assert "same sum of scores by query 1" in found["5.4"].detail


def test_one_to_one_pairs_are_judged_by_the_size_of_the_reference_set_at_hand(tmp_path):
    q, rng = np.repeat(np.arange(100), 10), np.random.default_rng(5)
    ids = [np.char.mod("Q%05d", np.arange(100)), np.char.mod("R%06d", np.arange(2000))]
    path = tmp_path / "m.csv"
    pairs = Matches(ids[0][q], ids[1][rng.permutation(2000)[:1000]], rng.normal(size=1000))
    write_matches(path, pairs)
    sets = SimpleNamespace(queries=SimpleNamespace(ids=ids[0]), references=SimpleNamespace(ids=ids[1]))
    assert findings(path, phase=1)["5.4"].status == "unknown"
    found = findings(path, phase=1, disc=sets)["5.4"]
    assert found.status == "failed" and "references that occur again 0" in found.detail


def test_faults_of_form_fail_rule_5_7_and_what_cannot_be_read_is_unknown(tmp_path, honest):
    path = tmp_path / "broken.csv"
    path.write_text("Q00001,R000001,0.5\nQ00001,T000001,x\n")
    found = findings(path)
    assert found["5.7"].status == "failed" and "M02" in found["5.7"].detail and "M07" in found["5.7"].detail
    assert found["5.4"].status == "unknown" and "malformed lines" in found["5.4"].detail
    honest.write_bytes(honest.read_bytes()[:500])
    found = findings(honest)
    assert found["5.7"].status == "failed" and "D02" in found["5.7"].detail
    assert found["5.5"].status == "unknown" and "cannot be read as HDF5" in found["5.5"].detail


def test_ids_are_held_to_the_phase_and_to_the_image_sets(honest, disc):
    assert "D14" in findings(honest, phase=2)["5.7"].detail
    found = findings(honest, phase=1, disc=disc)["5.7"]
    assert "D16" in found.detail and found.examined.endswith("the image sets at hand")


def test_the_kits_own_submissions_are_not_suspected(done, disc):
    for phase in (1, 2):
        folder = done / "submissions" / f"phase{phase}" / "run"
        for name in ("descriptors.h5", "matching.csv"):
            found = findings(folder / name, phase=phase, disc=disc)
            assert found["5.7"].status == "passed"
            assert not [number for number, finding in found.items() if finding.status == "failed"]


def test_references_equal_to_those_of_phase_1_pass_in_any_layout(done, disc):
    first, second = (done / "submissions" / f"phase{phase}" / "run" / "descriptors.h5" for phase in (1, 2))
    found = findings(second, phase=2, disc=disc, against=first)["5.8"]
    assert (found.status, found.level) == ("passed", "sampled") and "24 reference vectors" in found.examined
    assert "weights" in found.detail


def test_up_to_five_changed_references_are_named(tmp_path, honest):
    queries, references = read_descriptors(honest)
    vectors = references.vectors.copy()
    changed = [3, 7, 20, 21, 22, 200, 299]
    vectors[changed, 5] = np.nextafter(vectors[changed, 5], np.float32(9))
    for count in (2, 7):
        rows = references.vectors.copy()
        rows[changed[:count]] = vectors[changed[:count]]
        path = tmp_path / "second.h5"
        write_descriptors(path, queries, references.with_vectors(rows))
        found = findings(path, phase=2, against=honest)["5.8"]
        assert (found.status, found.level) == ("failed", "proven")
        names = ", ".join(f"R{row:06d}" for row in changed[: min(count, 5)])
        assert found.detail == f"{count} differ: {names}" + (", ..." if count > 5 else "")


def test_missing_and_new_references_are_named(tmp_path, honest):
    queries, references = read_descriptors(honest)
    path = tmp_path / "second.h5"
    write_descriptors(path, queries, references.take(np.arange(1, 300)))
    assert findings(path, phase=2, against=honest)["5.8"].detail == "1 differ: R000000"
    assert findings(honest, phase=2, against=path)["5.8"].detail == "1 differ: R000000"


def test_rows_in_another_order_are_the_same_references(tmp_path, honest):
    import h5py

    path = tmp_path / "second.h5"
    path.write_bytes(honest.read_bytes())
    with h5py.File(path, "r+") as file:
        for name in ("reference", "reference_ids"):
            file[name][:] = file[name][:][::-1]
    with open_descriptors(path) as (_, references):
        assert references.ids[0] == "R000299"
    assert findings(path, phase=2, against=honest)["5.8"].status == "passed"


def test_the_freeze_is_judged_only_where_there_is_something_to_compare(tmp_path, honest, table):
    assert findings(honest, phase=1)["5.8"].status == "passed"
    assert findings(honest, phase=2)["5.8"].detail == MISSING["5.8"]
    assert findings(honest, against=honest)["5.8"].status == "unknown"
    assert findings(table, phase=2, against=honest)["5.8"].detail == MISSING["5.8"]
    broken = tmp_path / "first.h5"
    broken.write_bytes(b"no")
    found = findings(honest, phase=2, against=broken)["5.8"]
    assert found.status == "unknown" and "cannot be read as HDF5" in found.detail


def test_a_rule_without_an_entry_gets_the_general_sentence(honest, monkeypatch):
    monkeypatch.delitem(MISSING, "5.1")
    assert findings(honest)["5.1"].detail == foreign.ANYTHING
