import h5py
import numpy as np
import pytest

from isckit.data.packs import read_image, read_index, write_pack
from isckit.types import BadInput

NAMES = ["a.jpg", "bc.png", "ünö.jpg", "d.jpg"]
FILES = [b"", b"x" * 7, bytes(range(256)) * 9, b"\0\0\0"]


def packed(path, files=FILES, names=NAMES):
    write_pack(path, names, np.array([len(file) for file in files]), files)
    return path


def read(path, i):
    index = read_index(path)
    values = {"offset": int(index.offsets[i]), "size": int(index.sizes[i]), "crc": int(index.crcs[i])}
    return read_image(path, **values, kind=index.kind)


def test_a_pack_gives_back_every_file_and_its_name(tmp_path):
    path = packed(tmp_path / "pack.h5")
    assert read_index(path).names.tolist() == NAMES and read_index(path).kind == "files"
    assert [read(path, i) for i in range(4)] == FILES
    with h5py.File(path) as file:
        assert file["files"][()].tobytes() == b"".join(FILES) and file["files"].chunks is None


def test_pixels_are_a_plain_data_set_and_are_read_as_ppm_files(tmp_path):
    from isckit.data.images import decode

    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 5, 3)).astype(np.uint8)
    write_pack(tmp_path / "p.h5", NAMES[:3], np.full(3, 75), (image.tobytes() for image in pixels), side=5)
    with h5py.File(tmp_path / "p.h5") as file:
        assert np.array_equal(file["pixels"][()], pixels)
    for i, image in enumerate(pixels):
        assert np.array_equal(decode(read(tmp_path / "p.h5", i), name=""), image)


def test_a_failure_half_way_leaves_what_stood_there(tmp_path):
    path = packed(tmp_path / "pack.h5")
    before = path.read_bytes()

    def failing():
        yield FILES[0]
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        write_pack(path, NAMES, np.array([len(file) for file in FILES]), failing())
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["pack.h5"]


def test_a_file_that_changed_its_size_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"7 bytes of bc\.png, which had 6"):
        write_pack(tmp_path / "pack.h5", NAMES, np.array([0, 6, 2_304, 3]), FILES)


def test_damage_is_noticed_where_it_lies(tmp_path):
    path = packed(tmp_path / "pack.h5")
    data = bytearray(path.read_bytes())
    data[int(read_index(path).offsets[2]) + 100] ^= 1
    path.write_bytes(data)
    assert read(path, 1) == FILES[1] and read(path, 3) == FILES[3]
    with pytest.raises(ValueError, match="CRC"):
        read(path, 2)


@pytest.mark.parametrize("spoil", [lambda data: data[:-4_000], lambda data: b"no pack at all"])
def test_a_truncated_or_foreign_file_is_refused(tmp_path, spoil):
    path = packed(tmp_path / "pack.h5", [b"y" * 9_000] * 4)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(BadInput, match=r"whole pack|is missing|cannot be read"):
        read_index(path)


def test_other_hdf5_files_are_no_packs(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["vectors"] = np.zeros(3)
    with pytest.raises(BadInput, match=r"whole pack|is missing|cannot be read"):
        read_index(tmp_path / "other.h5")
