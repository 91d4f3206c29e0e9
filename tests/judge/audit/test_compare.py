import numpy as np
import pytest
from safetensors.numpy import save_file

from isckit.judge.audit.compare import compare_descriptors, compare_files, compare_matches, compare_weights
from isckit.types import Embeddings, Matches, Role


def described(ids, vectors):
    return Embeddings.whole(Role.QUERY, np.array(ids), np.array(vectors, np.float32))


def test_equal_vectors_are_identical_in_any_order_and_one_bit_is_not():
    before = described(["Q00000", "Q00001", "Q00002"], [[3, 4], [1, 0], [0, 1]])
    after = described(["Q00002", "Q00000"], [[0, 1], [3, 4]])
    assert compare_descriptors(before, after).identical
    bits = after.vectors.view(np.uint32).copy()
    bits[1, 0] ^= 1
    found = compare_descriptors(before, after.with_vectors(bits.view(np.float32)))
    assert not found.identical and 0 < found.largest < 1e-6 and found.named == ("Q00000",)


def test_the_difference_is_a_part_of_the_length():
    found = compare_descriptors(described(["Q00000"], [[3, 4]]), described(["Q00000"], [[3, 4.5]]))
    assert found.largest == pytest.approx(0.1)


def test_an_image_without_a_vector_and_another_width_are_never_identical():
    before = described(["Q00000"], [[3, 4]])
    found = compare_descriptors(before, described(["Q00005"], [[3, 4]]))
    assert found.missing == ("Q00005",) and not found.identical
    assert compare_descriptors(before, described(["Q00000"], [[3, 4, 0]])).largest == np.inf


def matches(*rows):
    columns = list(zip(*rows, strict=True))
    return Matches(np.array(columns[0]), np.array(columns[1]), np.array(columns[2], np.float64))


def test_scores_are_compared_over_common_pairs_and_rows_in_one_only_are_named():
    before = matches(("Q0", "R0", 1.0), ("Q0", "R1", 0.5), ("Q1", "R1", 0.0))
    same = {("Q0", "R0"): 1.0, ("Q0", "R1"): 0.5, ("Q1", "R1"): 0.0}
    assert compare_matches(before, same, whole=True).identical
    assert compare_matches(before, same | {("Q1", "R0"): 0.3}, whole=False).identical
    extra = compare_matches(before, same | {("Q1", "R0"): 0.3}, whole=True)
    assert not extra.identical and extra.missing == ("Q1,R0",)
    other = compare_matches(before, same | {("Q0", "R0"): 1.2}, whole=True)
    assert other.largest == pytest.approx(0.2) and other.named == ("Q0,R0",)


def test_files_differ_by_one_byte(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").write_bytes(b"12346")
    assert compare_files(tmp_path / "a", tmp_path / "a").identical
    assert "other bytes" in str(compare_files(tmp_path / "a", tmp_path / "b"))


def test_tensors_that_differ_or_lack_are_named(tmp_path):
    weights = {"x": np.ones((2, 3), np.float32), "y": np.zeros(4, np.float32), "n": np.array(3)}
    save_file(weights, tmp_path / "a.safetensors")
    save_file(weights | {"x": np.full((2, 3), 1.5, np.float32)}, tmp_path / "b.safetensors")
    save_file({"x": weights["x"]}, tmp_path / "c.safetensors")
    assert compare_weights(tmp_path / "a.safetensors", tmp_path / "a.safetensors").identical
    other = compare_weights(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert other.named == ("x",) and other.largest == pytest.approx(0.5)
    lacking = compare_weights(tmp_path / "a.safetensors", tmp_path / "c.safetensors")
    assert lacking.missing == ("n", "y") and not lacking.identical
