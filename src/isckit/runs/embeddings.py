"""Embeddings on disk: one HDF5 file for a matrix, or a folder of shards in name order."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np

from isckit.runs.artifacts import atomic, telling_full
from isckit.runs.hdf5 import dataset, open_hdf5, parsing
from isckit.types import Embeddings, MissingInput, Role


def write_embeddings(path: Path, embeddings: Embeddings) -> None:
    """Write atomically: vectors (n, d) float32 contiguous, ids as fixed UTF-8 bytes, views int16; role, view_names.

    Raises:
        StorageFull: the disk filled up; whatever stood there is untouched.
    """
    # Built in memory: on a full disk HDF5 raises RuntimeError from its closing flush, or crashes the process at exit.
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        file["vectors"] = embeddings.vectors
        file["ids"] = np.strings.encode(embeddings.ids, "utf-8")
        file["views"] = embeddings.views.astype(np.int16)
        file.attrs["view_names"] = np.array(embeddings.view_names, dtype=h5py.string_dtype())
        file.attrs["role"] = str(embeddings.role)
    with atomic(path) as temporary:
        temporary.write_bytes(image.getbuffer())


def read_embeddings(path: Path) -> Embeddings:
    """Read what write_embeddings wrote.

    Raises:
        MissingInput: there is no such file.
        BadInput: it is truncated, or not a file of embeddings.
    """
    told = {
        "allowed": "a whole file of embeddings of this kit",
        "remedy": f"delete {path} and run the extraction again",
    }
    with open_hdf5(path, untrusted=False, **told) as file, parsing(path, **told):
        names = tuple(str(name) for name in file.attrs["view_names"])
        ids, vectors, views = (dataset(file, name)[()] for name in ("ids", "vectors", "views"))
        if views.dtype != np.int16 or not ((views >= 0) & (views < len(names))).all():
            raise ValueError(f"views of {views.dtype}, not all of them among {', '.join(names)}")
        ids = np.strings.decode(ids, "utf-8").astype(str, copy=False)  # no rows decode to floats
        return Embeddings(Role(file.attrs["role"]), ids, vectors, names, views)


def mapped(parts: Iterable[Embeddings], folder: Path) -> Embeddings:
    """Return the parts of one image set, at least one, as one, whose vectors lie in a nameless file in `folder`.

    The system keeps as much of them in memory as it has room for. The file is gone with the array, or the process.

    Raises:
        StorageFull: the disk filled up.
    """
    keys: list[Embeddings] = []
    with telling_full(folder / "vectors"), tempfile.TemporaryFile(dir=folder) as file:
        for part in parts:
            file.write(np.ascontiguousarray(part.vectors).data)
            keys.append(part.with_vectors(np.empty((len(part.ids), 0), np.float32)))
            width = part.vectors.shape[1]
        file.flush()
        joined = Embeddings.joined(keys)
        shape = len(joined.ids), width
        return joined.with_vectors(np.memmap(file, np.float32, "r", shape=shape) if 0 not in shape else np.empty(shape))


def read_shards(folder: Path) -> Iterator[Embeddings]:
    """Return the shards shard-*.h5 of a folder, by name.

    Raises:
        MissingInput: there is none.
        BadInput: one is truncated or foreign.
    """
    paths = sorted(folder.glob("shard-*.h5"))
    if not paths:
        raise MissingInput(
            seen=f"no shard-*.h5 in {folder}", allowed="a folder of embeddings", remedy="run the extraction"
        )
    return map(read_embeddings, paths)
