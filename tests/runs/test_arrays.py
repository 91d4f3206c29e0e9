"""Arrays come back as they were, equal ones are equal bytes, and no damage to a file ends in anything but a message."""

import io
import zipfile

import numpy as np
import pytest

from isckit.runs.arrays import read_arrays, write_arrays
from isckit.types import BadInput, MissingInput

ARRAYS = {"words": np.arange(6.0).reshape(2, 3), "ids": np.array([b"a", b"bc"]), "role": np.array("train")}
SHAPES = {"words": "f2", "ids": "S1", "role": "U0"}


def read(path, **shapes):
    with read_arrays(path, SHAPES | shapes, what="a file of words", remedy="do this") as found:
        return found


def test_arrays_come_back_and_equal_ones_are_equal_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        write_arrays(tmp_path / name, ARRAYS)
    found = read(tmp_path / "a.npz")
    assert all(np.array_equal(found[name], ARRAYS[name]) for name in ARRAYS)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_missing_file_is_told_with_what_to_do(tmp_path):
    with pytest.raises(MissingInput, match="do this"):
        read(tmp_path / "c.npz")


@pytest.mark.parametrize("shapes", [{"words": "f1"}, {"words": "i2"}, {"other": "f1"}, {"ids": "U1"}])
def test_arrays_of_another_kind_are_refused(tmp_path, shapes):
    write_arrays(tmp_path / "a.npz", ARRAYS)
    with pytest.raises(BadInput, match=r"a\.npz is not a file of words"):
        read(tmp_path / "a.npz", **shapes)


def test_what_goes_wrong_while_arrays_are_put_to_use_is_told_of_the_file(tmp_path):
    write_arrays(tmp_path / "a.npz", ARRAYS)
    with (
        pytest.raises(BadInput, match="two words too few"),
        read_arrays(tmp_path / "a.npz", SHAPES, what="w", remedy="r"),
    ):
        raise ValueError("two words too few")


def test_pickles_and_packed_arrays_are_refused(tmp_path):
    for write in (np.savez_compressed, np.savez):
        values = np.zeros((2, 3)) if write is np.savez_compressed else np.array([[print] * 3] * 2)
        write(tmp_path / "a.npz", words=values, ids=ARRAYS["ids"], role=ARRAYS["role"])
        with pytest.raises(BadInput, match="not a file of words"):
            read(tmp_path / "a.npz")


def test_a_header_that_claims_more_than_the_file_holds_takes_no_memory(tmp_path):
    claims = io.BytesIO()
    np.lib.format.write_array_header_1_0(claims, {"descr": "<f8", "fortran_order": False, "shape": (1 << 20, 1 << 20)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("words.npy", claims.getvalue())
    with pytest.raises(BadInput, match="not a file of words"):
        read(tmp_path / "a.npz")


def test_any_damaged_byte_ends_in_a_message_or_in_arrays(tmp_path):
    write_arrays(tmp_path / "a.npz", ARRAYS)
    whole = (tmp_path / "a.npz").read_bytes()
    refused = 0
    for at in range(len(whole)):
        for bit in (0x01, 0x40):
            (tmp_path / "a.npz").write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
            try:
                read(tmp_path / "a.npz")
            except BadInput:
                refused += 1
    assert refused > len(whole)
