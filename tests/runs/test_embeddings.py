"""Embeddings come back from HDF5 bit for bit; damaged and foreign files are refused."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from isckit.runs.embeddings import mapped, read_embeddings, read_shards, write_embeddings
from isckit.types import BadInput, Embeddings, MissingInput, Role


def made(n=5, d=3, ids=None, role=Role.QUERY, view_names=("whole", "left"), seed=0):
    rng = np.random.default_rng(seed)
    ids = np.array([f"Q{i:05d}" for i in range(n)] if ids is None else ids, dtype=str)
    return Embeddings(
        role,
        ids,
        rng.standard_normal((len(ids), d)).astype(np.float32),
        view_names,
        rng.integers(0, len(view_names), len(ids)).astype(np.int16),
    )


def assert_same(a, b):
    assert (a.role, a.view_names, a.ids.tolist()) == (b.role, b.view_names, b.ids.tolist())
    assert a.vectors.tobytes() == b.vectors.tobytes()
    assert a.views.tobytes() == b.views.tobytes()


@pytest.mark.parametrize("role", list(Role))
def test_embeddings_come_back_bit_for_bit(tmp_path, role):
    embeddings = made(role=role)
    write_embeddings(tmp_path / "a" / "e.h5", embeddings)
    assert_same(read_embeddings(tmp_path / "a" / "e.h5"), embeddings)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["e.h5"]


def test_ids_outside_ascii_survive(tmp_path):
    embeddings = made(ids=["Müller.jpg", "写真", "a", "Ω🙂"])
    write_embeddings(tmp_path / "e.h5", embeddings)
    assert_same(read_embeddings(tmp_path / "e.h5"), embeddings)


def test_no_rows_are_rows_too(tmp_path):
    write_embeddings(tmp_path / "e.h5", made(n=0))
    assert_same(read_embeddings(tmp_path / "e.h5"), made(n=0))


def test_layout_is_contiguous_float32_with_fixed_bytes(tmp_path):
    write_embeddings(tmp_path / "e.h5", made())
    with h5py.File(tmp_path / "e.h5") as file:
        assert file["vectors"].chunks is None
        assert (file["vectors"].dtype, file["views"].dtype, file["ids"].dtype) == (np.float32, np.int16, np.dtype("S6"))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_truncated_files_are_refused(tmp_path, share):
    path = tmp_path / "e.h5"
    write_embeddings(path, made(n=500, d=16))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadInput, match=r"e\.h5"):
        read_embeddings(path)


def test_absent_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(MissingInput):
        read_embeddings(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("no HDF5 here")
    with pytest.raises(BadInput):
        read_embeddings(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["query"] = np.ones((3, 4))
    with pytest.raises(BadInput):
        read_embeddings(tmp_path / "other.h5")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vectors", np.ones((5, 3))),
        ("vectors", np.ones((4, 3), np.float32)),
        ("vectors", np.float32(1)),
        ("ids", np.arange(5)),
        ("ids", np.array([b"\xff"] * 5)),
        ("views", np.full(5, 2, np.int16)),
        ("views", np.full(5, -1, np.int16)),
        ("views", np.zeros(4, np.int16)),
        ("views", np.zeros(5)),
    ],
)
def test_columns_of_wrong_content_are_refused(tmp_path, name, value):
    write_embeddings(tmp_path / "e.h5", made())
    with h5py.File(tmp_path / "e.h5", "a") as file:
        del file[name]
        file[name] = value
    with pytest.raises(BadInput, match=r"e\.h5"):
        read_embeddings(tmp_path / "e.h5")


def test_an_unknown_role_is_refused(tmp_path):
    write_embeddings(tmp_path / "e.h5", made())
    with h5py.File(tmp_path / "e.h5", "a") as file:
        file.attrs["role"] = "judge"
    with pytest.raises(BadInput, match="judge"):
        read_embeddings(tmp_path / "e.h5")


def test_shards_come_in_name_order_and_nothing_else_does(tmp_path):
    parts = [made(ids=[f"Q{i}a", f"Q{i}bb"], seed=i) for i in range(3)]
    for i in (2, 0, 1):
        write_embeddings(tmp_path / f"shard-{i:05d}.h5", parts[i])
    (tmp_path / ".shard-00003.h5.77.part").write_text("a killed writer's")
    (tmp_path / "receipt.json").write_text("{}")
    for read, part in zip(read_shards(tmp_path), parts, strict=True):
        assert_same(read, part)


def test_folders_without_shards_are_refused(tmp_path):
    with pytest.raises(MissingInput):
        read_shards(tmp_path)


@pytest.mark.parametrize("limit", [100, 20_000, 24_000, 25_500, 28_000])
def test_a_full_disk_ends_in_storage_full_with_the_old_file_and_no_litter(tmp_path, limit):
    path = tmp_path / "e.h5"
    write_embeddings(path, made())
    before = path.read_bytes()
    code = f"""
import pathlib, resource, signal, numpy as np
from isckit.runs.embeddings import write_embeddings
from isckit.types import Embeddings, Role, StorageFull
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
many = Embeddings.whole(Role.QUERY, np.arange(90).astype(str), np.ones((90, 64), np.float32))
try:
    write_embeddings(pathlib.Path({str(path)!r}), many)
except StorageFull:
    raise SystemExit(7)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (7, "")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["e.h5"]


def test_parts_mapped_from_a_nameless_file_are_those_in_memory(tmp_path):
    rng = np.random.default_rng(0)
    parts = [made_part(rng, rows) for rows in (3, 0, 5)]
    got, wanted = mapped(iter(parts), tmp_path), Embeddings.joined(parts)
    assert (got.ids == wanted.ids).all() and (got.views == wanted.views).all() and got.role is wanted.role
    assert got.vectors.tobytes() == wanted.vectors.tobytes() and got.vectors.shape == (8, 4)
    assert isinstance(got.vectors.base, np.memmap) and not list(tmp_path.iterdir())
    assert mapped(iter(parts[1:2]), tmp_path).vectors.shape == (0, 4)


def made_part(rng, rows):
    vectors = rng.standard_normal((rows, 4)).astype(np.float32)
    ids = rng.integers(0, 9, rows).astype(str)
    return Embeddings(Role.QUERY, ids, vectors, ("whole", "mirror"), rng.integers(0, 2, rows).astype(np.int16))
