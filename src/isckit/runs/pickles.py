"""Tables of tensors that were written by `pickle.dump`, read without running what a pickle could name."""

from __future__ import annotations

import argparse
import collections
import io
import math
import pathlib
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

_scalar = np.float64(0).__reduce__()[0]
INERT: list[Any] = [
    argparse.Namespace,
    pathlib.PosixPath,
    collections.defaultdict,
    list,
    (_scalar, "numpy.core.multiarray.scalar"),  # numpy's name before 2.0
    (_scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float64)),
]
"""Holders of values that training scripts leave beside their tensors: arguments, paths, tables of scores, and numbers
of numpy in an optimiser's state. Nothing of them runs."""


class _Tensor(NamedTuple):
    """A tensor that was read. A tuple has no attributes or state that a pickle could set."""

    value: torch.Tensor


def _storage(data: bytes) -> torch.Tensor:
    """Return the elements of a storage, which is a whole torch file of its own."""
    storage = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return torch.tensor([], dtype=storage.dtype).set_(storage)


def _rebuilt(elements: torch.Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> _Tensor:
    if math.prod(size) > elements.numel():  # a stride of 0 would make a few bytes fill the memory
        raise pickle.UnpicklingError(f"{math.prod(size)} values from {elements.numel()}")
    return _Tensor(elements.as_strided(size, stride, offset).clone())


def _bytes(text: str, encoding: str) -> bytes:
    """Return the bytes that protocol 2 holds as text."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes as {encoding}")
    return text.encode("latin1")


_KNOWN = {
    ("_codecs", "encode"): _bytes,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("collections", "OrderedDict"): collections.OrderedDict,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return one of four builders of tensors; refuse everything else."""
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"Unsupported global: GLOBAL {module}.{name}")
        return _KNOWN[module, name]


def plain_pickle(path: Path) -> dict[Any, Any] | None:
    """Return the table in a pickle; None for a file that is none, or is torch's own, which begins with a number.

    Raises:
        pickle.UnpicklingError, and what damaged pickles raise: it asks for something that is no tensor.
    """
    with path.open("rb") as file:
        if file.read(1) != b"\x80":
            return None
        file.seek(0)
        found = _Reader(file).load()
    return _opened(found) if isinstance(found, dict) else None


def _opened(table: dict[Any, Any]) -> dict[Any, Any]:
    return {key: _value(value) for key, value in table.items()}


def _value(value: Any) -> Any:
    if isinstance(value, _Tensor):
        return value.value
    return _opened(value) if isinstance(value, dict) else value
