import numpy as np
import pytest

from isckit.matching.codes import Codes, read_code_shards, read_codes, write_codes
from isckit.types import BadInput, MissingInput, Role


def codes():
    return Codes(
        Role.QUERY,
        np.array(["Q1", "Q2 ö", "Q3"]),
        np.array([2, 0, 3], np.int32),
        np.array([4, 9, 1, 2, 3], np.int32),
        np.arange(10, dtype=np.uint64).reshape(5, 2) << np.uint64(60),
        bits=100,
    )


def equal(first, second):
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in vars(first))


def test_codes_come_back_as_they_were(tmp_path):
    write_codes(tmp_path / "shard-00000.npz", codes())
    found = read_codes(tmp_path / "shard-00000.npz")
    assert equal(found, codes()) and found.role is Role.QUERY and found.bits == 100
    write_codes(tmp_path / "shard-00001.npz", codes().part(slice(2, 3)))
    assert [part.ids.tolist() for part in read_code_shards(tmp_path)] == [["Q1", "Q2 ö", "Q3"], ["Q3"]]


def test_a_part_holds_the_words_of_its_images():
    whole = codes()
    assert whole.part(slice(0, 2)).words.tolist() == [4, 9]
    assert whole.part(slice(1, 2)).words.tolist() == []
    assert whole.part(slice(2, 3)).words.tolist() == [1, 2, 3]
    assert whole.part(slice(2, 3)).codes.tolist() == whole.codes[2:].tolist()
    assert whole.part(slice(0, 0)).ids.size == 0
    assert equal(whole.part(slice(0, 3)), whole)


def test_a_damaged_or_missing_file_is_named(tmp_path):
    path = tmp_path / "shard-00000.npz"
    with pytest.raises(MissingInput):
        read_codes(path)
    with pytest.raises(MissingInput):
        read_code_shards(tmp_path)
    write_codes(path, codes())
    data = path.read_bytes()
    for spoiled in (b"", b"nothing", data[: len(data) // 2]):
        path.write_bytes(spoiled)
        with pytest.raises(BadInput, match="not a file of binary codes"):
            read_codes(path)
    np.savez(path, words=np.arange(3))
    with pytest.raises(BadInput, match="not a file of binary codes"):
        read_codes(path)
