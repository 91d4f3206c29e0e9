"""Weights on disk: safetensors with the recipe inside; torch files without running any Python that they hold."""

from __future__ import annotations

import argparse
import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from isckit.runs.artifacts import atomic
from isckit.types import BadInput, MissingInput


def write_weights(path: Path, weights: Mapping[str, torch.Tensor], *, recipe: str) -> None:
    """Write tensors as safetensors, the resolved recipe (JSON) in its header. Equal weights give equal bytes."""
    plain = {key: weights[key].detach().cpu().contiguous() for key in sorted(weights)}
    with atomic(path) as temporary:
        save_file(plain, temporary, metadata={"recipe": recipe})


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read tensors from safetensors, from a torch file of plain values, or from a TorchScript archive.

    A training framework's wrapping ("state_dict", "model", "model_state") and DDP's "module." prefix are taken off.
    Beside the tensors there may be a training script's arguments (argparse.Namespace), as many published files have.

    Raises:
        MissingInput: no such file.
        BadInput: corrupt, or a pickle that would run code.
    """
    if not path.is_file():
        raise MissingInput(
            seen=f"no checkpoint {path}", allowed="an existing weight file", remedy="correct --checkpoint"
        )
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as handle:
                return {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118  a safetensors handle is no mapping
        except (SafetensorError, OSError) as error:
            raise _corrupt(path, str(error)) from error
    try:
        loaded = _read_archive(path)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise _corrupt(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    for wrapper in ("state_dict", "model", "model_state"):
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise _corrupt(path, "it is not a table of tensors")
    if not loaded:
        raise _corrupt(path, "no tensors in it (a frozen TorchScript model keeps none by name)")
    return {key.removeprefix("module."): value for key, value in loaded.items()}


def _read_archive(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            scripted = any(name.endswith("/constants.pkl") for name in archive.namelist())
        if scripted:
            return dict(torch.jit.load(path, map_location="cpu").state_dict())
    # A Namespace is a bare holder of attributes: nothing of it runs.
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True)


def read_recipe(path: Path) -> dict[str, Any] | None:
    """Return the recipe in a weight file's header, or None where it has none."""
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, framework="pt") as handle:
            text = (handle.metadata() or {}).get("recipe")
    except (SafetensorError, OSError) as error:
        raise _corrupt(path, str(error)) from error
    return json.loads(text) if text else None


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a resumable training state (tensors, numbers, text, lists and dicts of them)."""
    with atomic(path) as temporary:
        torch.save(dict(state), temporary)


def read_state(path: Path) -> dict[str, Any]:
    """Read a training state; never unpickles code."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise _corrupt(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def _corrupt(path: Path, reason: str) -> BadInput:
    return BadInput(
        seen=f"{path} cannot be read as weights: {reason}",
        allowed="a .safetensors file, or a torch file that holds tensors only (pickled code is never run)",
        remedy="take an intact file; convert others with torch.save(model.state_dict()) or safetensors",
    )
