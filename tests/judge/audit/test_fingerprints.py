import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isckit.judge.audit.changed_rows import MOST, changed_pairs, changed_vectors
from isckit.judge.audit.fingerprints import (
    Fingerprints,
    hashed,
    hashed_descriptors,
    read_fingerprints,
    write_fingerprints,
)
from isckit.submission import parse_matches, write_descriptors, write_matches
from isckit.types import BadInput, Embeddings, Matches, Role

IDS = np.char.mod("R%06d", np.arange(40))
VECTORS = np.random.default_rng(0).standard_normal((40, 256)).astype(np.float32)
BEFORE = hashed(IDS, VECTORS)


def after(change):
    vectors = VECTORS.copy()
    change(vectors)
    return changed_vectors(BEFORE, hashed(IDS, vectors))


@given(row=st.integers(0, 39), place=st.integers(0, 255), bit=st.integers(0, 31))
def test_any_flipped_bit_of_any_float_is_named_by_row_and_place(row, place, bit):
    def flip(vectors):
        vectors.view(np.uint32)[row, place] ^= np.uint32(1 << bit)

    assert after(flip) == [f"vector of R{row:06d} changed (float {place})"]


def test_hashes_are_those_of_the_definition_in_plain_integers():
    from isckit.judge.audit.fingerprints import mixers

    by = mixers(256)
    bits = VECTORS.view(np.uint32)
    for row in (0, 7):
        for column in (0, 1):
            total = sum(int(b) * int(m) for b, m in zip(bits[row], by[:, column], strict=True)) % 2**64
            assert total == int(BEFORE.hashes[row, column])
    assert (by[:, 0] % 2 == 1).all() and (mixers(3) == by[:3]).all()


def test_blocks_and_hdf5_give_the_same_hashes(tmp_path):
    ids = np.char.mod("R%06d", np.arange(9000))
    vectors = np.random.default_rng(1).standard_normal((9000, 8)).astype(np.float32)
    queries = Embeddings.whole(Role.QUERY, np.array(["Q00001"]), vectors[:1])
    write_descriptors(tmp_path / "d.h5", queries, Embeddings.whole(Role.REFERENCE, ids, vectors))
    rows = hashed_descriptors(tmp_path / "d.h5")
    single = np.concatenate([hashed(ids[k : k + 1], vectors[k : k + 1]).hashes for k in range(9000)])
    assert (rows["reference"].hashes == single).all() and rows["query"].ids.tolist() == ["Q00001"]


def test_swapped_vectors_are_told_as_swapped_and_a_cycle_of_three_as_changed():
    def swap(vectors):
        vectors[[3, 9, 5, 6, 7]] = vectors[[9, 3, 6, 7, 5]]

    words = after(swap)
    assert words[0] == "vectors of R000003 and R000009 are swapped"
    assert words[1:] == [f"vector of R00000{k} changed (several floats)" for k in (5, 6, 7)]


def test_the_order_of_rows_is_no_change_and_rows_come_go_and_repeat_by_name():
    order = np.random.default_rng(2).permutation(40)
    assert changed_vectors(BEFORE, hashed(IDS[order], VECTORS[order])) == []
    ids = IDS.copy()
    ids[4], ids[8] = "R900000", ids[9]
    assert changed_vectors(BEFORE, hashed(ids, VECTORS)) == [
        "vector of R000009 is there 2 times",
        "vector of R000009 changed (several floats)",
        "vector of R000004 is gone",
        "vector of R000008 is gone",
        "vector of R900000 is new",
    ]
    assert changed_vectors(BEFORE, hashed(IDS, VECTORS[:, :8])) == ["vectors of 8 floats, 256 recorded"]


def test_many_changes_are_counted_and_a_few_named():
    words = after(lambda vectors: vectors.__imul__(2))
    assert len(words) == MOST + 1 and words[-1] == "and 35 more like the last"


def pairs(queries=6, references=5):
    rng = np.random.default_rng(3)
    q, r = np.divmod(np.arange(queries * references), references)
    scores = rng.standard_normal(len(q))
    return Matches(np.char.mod("Q%05d", q), np.char.mod("R%06d", r), scores)


@pytest.fixture
def lines(tmp_path):
    write_matches(tmp_path / "m.csv", pairs())
    return (tmp_path / "m.csv").read_text().splitlines()


def told(tmp_path, lines):
    (tmp_path / "now.csv").write_text("\n".join(lines) + "\n")
    return changed_pairs(pairs_of(tmp_path / "m.csv"), parse_matches(tmp_path / "now.csv"))


def pairs_of(path):
    parsed = parse_matches(path)
    return Matches(parsed.query_ids, parsed.reference_ids, parsed.scores)


def test_a_score_a_row_and_the_order_are_named(tmp_path, lines):
    assert told(tmp_path, lines) == []
    query, reference, score = lines[4].split(",")
    assert told(tmp_path, [*lines[:4], f"{query},{reference},9.5", *lines[5:]]) == [
        f"score of {query},{reference} changed: {score} there, 9.5 now"
    ]
    assert told(tmp_path, [*lines[:4], *lines[5:]]) == [f"row {query},{reference} is gone"]
    assert told(tmp_path, [*lines, "Q00001,R000099,0.5"]) == ["row Q00001,R000099 is new"]
    assert told(tmp_path, [*lines, lines[4]]) == [f"row {query},{reference} is there 2 times"]
    assert told(tmp_path, [lines[0], *lines[:0:-1]]) == ["rows stand in another order"]
    assert told(tmp_path, [*lines, "nonsense"]) == ["line 32 is no row"]


@pytest.mark.parametrize(("one", "other"), [("Q00001", "Q00004"), ("R000000", "R000003")])
def test_ids_swapped_throughout_are_told_in_one_line(tmp_path, lines, one, other):
    swapped = [line.replace(one, "@").replace(other, one).replace("@", other) for line in lines]
    assert told(tmp_path, swapped) == [f"ids {one} and {other} are swapped"]


def test_a_swap_hides_no_other_change(tmp_path, lines):
    swapped = [line.replace("Q00001", "@").replace("Q00004", "Q00001").replace("@", "Q00004") for line in lines]
    k = next(k for k, line in enumerate(swapped) if line.startswith("Q00002"))
    pair = swapped[k].rsplit(",", 1)[0]
    swapped[k] = f"{pair},7.5"
    words = told(tmp_path, swapped)
    assert words[0] == "ids Q00001 and Q00004 are swapped" and len(words) == 2
    assert words[1].startswith(f"score of {pair} changed") and words[1].endswith("7.5 now")


def test_any_changed_byte_of_a_matches_file_is_told(tmp_path, lines):
    data = "\n".join(lines).encode() + b"\n"
    start, before = len(lines[0]) + 1, pairs_of(tmp_path / "m.csv")
    for k in range(start, len(data), 7):
        for byte in b"7,x\n":
            if byte != data[k]:
                (tmp_path / "now.csv").write_bytes(data[:k] + bytes([byte]) + data[k + 1 :])
                now = parse_matches(tmp_path / "now.csv")
                same_scores = np.array_equal(now.scores, before.scores)
                assert changed_pairs(before, now) or (same_scores and not now.misshapen), (k, byte)


def test_fingerprints_read_back_as_written_and_are_the_same_bytes_again(tmp_path):
    written = Fingerprints({"query": BEFORE, "bank": hashed(IDS[:5], VECTORS[:5])}, pairs())
    first = write_fingerprints(tmp_path, written).read_bytes()
    read = read_fingerprints(tmp_path)
    assert read.vectors.keys() == written.vectors.keys() and read.vectors["query"].dim == 256
    assert (read.vectors["query"].hashes == BEFORE.hashes).all() and (read.vectors["query"].ids == IDS).all()
    assert (read.matches.scores == pairs().scores).all() and (read.matches.query_ids == pairs().query_ids).all()
    assert write_fingerprints(tmp_path, written).read_bytes() == first
    assert read_fingerprints(write_fingerprints(tmp_path, Fingerprints({}, None)).parent).matches is None


def test_damaged_fingerprints_and_foreign_vectors_are_refused(tmp_path):
    path = write_fingerprints(tmp_path, Fingerprints({"query": BEFORE}, pairs()))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(BadInput, match="damaged"):
        read_fingerprints(tmp_path)
    with pytest.raises(BadInput, match="float64"):
        hashed(IDS, VECTORS.astype(np.float64))
