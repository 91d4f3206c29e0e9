"""Weights on disk: safetensors with the recipe inside; torch files without running any Python that they hold."""

from __future__ import annotations

import io
import json
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from isckit.runs.artifacts import atomic
from isckit.runs.pickles import INERT, plain_pickle
from isckit.runs.records import checked
from isckit.types import BadInput, MissingInput


def write_weights(path: Path, weights: Mapping[str, torch.Tensor], *, recipe: str) -> None:
    """Write tensors as safetensors, the resolved recipe (JSON) in its header. Equal weights give equal bytes."""
    plain = {key: weights[key].detach().cpu().contiguous() for key in sorted(weights)}
    with atomic(path) as temporary:
        save_file(plain, temporary, metadata={"recipe": recipe})


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read tensors from safetensors, from a torch file of plain values, or from a TorchScript archive.

    A training framework's wrapping ("state_dict", "model", "model_state", a self-supervised "teacher") and DDP's
    "module." prefix are taken off. Beside the tensors there may be what many published files have: a training
    script's arguments, paths, scores and numbers of numpy. A plain pickle of tensors is read too.

    Raises:
        MissingInput: no such file.
        BadInput: corrupt, or a pickle that would run code; weights that are NaN.
    """
    if not path.is_file():
        raise MissingInput(
            seen=f"no checkpoint {path}",
            allowed="an existing weight file",
            remedy="correct the path, or train to the end what it is to hold",
        )
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as handle:
                keys = handle.keys()  # a safetensors handle is no mapping
                return _finite(path, {key: handle.get_tensor(key) for key in keys})
        except (SafetensorError, OSError) as error:
            raise _corrupt(path, str(error)) from error
    try:
        loaded = _read_archive(path)
    except _FAULTS as error:
        raise _corrupt(path, _reason(error)) from error
    for wrapper in ("state_dict", "model", "model_state", "teacher"):
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict) or not all(_plain(value) for value in loaded.values()):
        raise _corrupt(path, "it is not a table of tensors")
    if not loaded:
        raise _corrupt(path, "no tensors in it (a frozen TorchScript model keeps none by name)")
    return _finite(path, {str(key).removeprefix("module."): value for key, value in loaded.items()})


def _plain(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_quantized


def _finite(path: Path, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights that are numbers: others would be blamed on the images, later."""
    bad = [key for key, value in weights.items() if value.is_floating_point() and bool(value.isnan().any())]
    if bad:
        raise BadInput(
            seen=f"{path}: NaN in {len(bad)} of {len(weights)} tensors: {', '.join(bad[:5])}",
            allowed="weights that are numbers",
            remedy="take the weights of an earlier epoch, or train again with a lower rate",
        )
    return weights


def _read_archive(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any(name.endswith("/constants.pkl") for name in names):
                return dict(_tensors(_read_scripted(archive, names), ""))
    elif (table := plain_pickle(path)) is not None:
        return table
    with torch.serialization.safe_globals(INERT):
        return torch.load(path, map_location="cpu", weights_only=True)


class ScriptedModule:
    """Holds the attributes of a module of a TorchScript archive, and nothing that runs."""


def _value(value: Any, *_: Any) -> Any:
    """Stands for TorchScript's builders of typed lists, which give what they are given."""
    return value


def _read_scripted(archive: zipfile.ZipFile, names: list[str]) -> Any:
    """Return the modules of a TorchScript archive, read as a file of tensors.

    `torch.jit.load` would compile the archive's code and run its `__setstate__`, which can write files. Here the
    records of its tensors alone are given to the reader of plain values, with an empty class for each class of it.
    """
    prefix = next(name.removesuffix("constants.pkl") for name in names if name.endswith("/constants.pkl"))
    kept = [f"{prefix}{name}" for name in ("data.pkl", "version", "byteorder")]
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w", zipfile.ZIP_STORED) as copy:
        for name in names:
            if name in kept or name.startswith(f"{prefix}data/"):
                copy.writestr("archive/" + name.removeprefix(prefix), archive.read(name))
    plain.seek(0)
    asked = torch.serialization.get_unsafe_globals_in_checkpoint(plain)
    inert: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        (ScriptedModule, name) for name in asked if name.startswith("__torch__.")
    ]
    inert += [(_value, name) for name in asked if name.startswith("torch.jit._pickle.")]
    plain.seek(0)
    with torch.serialization.safe_globals(inert):
        return torch.load(plain, map_location="cpu", weights_only=True)


def _tensors(module: Any, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in vars(module).items():
        if isinstance(value, ScriptedModule):
            yield from _tensors(value, f"{prefix}{name}.")
        elif isinstance(value, torch.Tensor):
            yield prefix + name, value.detach()


def read_recipe(path: Path) -> dict[str, Any] | None:
    """Return the recipe in a weight file's header, or None where it has none."""
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, framework="pt") as handle:
            text = (handle.metadata() or {}).get("recipe")
    except (SafetensorError, OSError) as error:
        raise _corrupt(path, str(error)) from error
    try:
        return checked(json.loads(text), dict) if text else None
    except (ValueError, RecursionError) as error:
        raise _corrupt(path, f"the recipe in its header is none: {error}") from error


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a resumable training state (tensors, numbers, text, lists and dicts of them)."""
    with atomic(path) as temporary:
        torch.save(dict(state), temporary)


def read_state(path: Path) -> dict[str, Any]:
    """Read a training state; never unpickles code."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except _FAULTS as error:
        raise _corrupt(path, _reason(error)) from error


_FAULTS = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    struct.error,
)
"""Errors that torch's reader raises on damaged files: it documents no common one."""


def _reason(error: Exception) -> str:
    """Return why a file is not read, without torch's advice to run the code that it holds."""
    if found := re.search(r"Unsupported (?:global|class|type): GLOBAL (\S+)|GLOBAL (\S+) was not", str(error)):
        return f"it asks for {found[1] or found[2]}, which is no tensor, and would run code"
    if isinstance(error, pickle.UnpicklingError):
        return "no safe pickle of tensors: it is damaged, of another format, or would run code"
    return (str(error).splitlines() or [type(error).__name__])[0]


def _corrupt(path: Path, reason: str) -> BadInput:
    return BadInput(
        seen=f"{path} cannot be read as weights: {reason}",
        allowed="a .safetensors file, or a torch file that holds tensors only (pickled code is never run)",
        remedy="take an intact file; convert others with torch.save(model.state_dict()) or safetensors",
    )
