"""One network of a recipe as a file for other programs: uint8 images in, unit vectors out, compared before it stays."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from isckit import config
from isckit.models.members import load
from isckit.runs.artifacts import atomic, file_digest, write_receipt
from isckit.runs.checkpoints import read_weights
from isckit.types import BadInput, MissingInput

log = logging.getLogger(__name__)

Format = Literal["onnx", "torchscript"]
TOLERANCE = 1e-4
"""Largest difference of any coordinate of a unit vector between the file and the network it was made from."""
OPSET = 18
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
EXAMPLES, BATCHES = 2, (1, 3)
"""Images a file is traced with, and batch sizes it is compared at: others, so that a frozen batch size shows."""
_BLOCKS = 8


def export(recipe: config.Recipe, weights: Path, out: Path, *, member: str | None, form: Format) -> float:
    """Write a network of a recipe as a file that maps (N, 3, S, S) uint8 to (N, dim) unit float32 for any N.

    The normalisation of the input is inside; S is the network's `image_size`. Averaging over scales and mirrored images
    stays outside. A receipt beside the file says what it was made from and how it was compared.

    Args:
        recipe: of the run.
        weights: its weight file.
        out: the file to write; one that is there is replaced.
        member: name of the network; may be None where there is one only.
        form: ONNX, or TorchScript for programs that have torch.

    Returns:
        The largest difference that was measured.

    Raises:
        MissingInput: no weights, or the packages of requirements-export.txt are not installed.
        BadInput: no such network, or one that this format cannot hold; then nothing is written.
    """
    settings = _network(recipe, member)
    if form == "onnx":
        _require_onnx()
    built = load(recipe, read_weights(weights), device=torch.device("cpu"))
    network = built[recipe.members.index(settings)]
    assert isinstance(network, nn.Module)
    difference = write_network(network, out, size=settings.image_size, form=form)
    write_receipt(
        out,
        made_from={"recipe": config.digest(recipe), "weights": file_digest(weights), "member": settings.name},
        facts={
            "format": form,
            "input": {"name": "images", "shape": ["N", 3, settings.image_size, settings.image_size], "type": "uint8"},
            "output": {"name": "embedding", "shape": ["N", settings.dim], "type": "float32", "length": 1},
            "normalisation": {"inside": True} | {name: _channels(network, name) for name in ("mean", "std")},
            "outside": {"scales": list(settings.scales), "flip": settings.flip, "resize": "bicubic, antialiased"},
            "compared": {"batches": list(BATCHES), "largest_difference": difference, "tolerance": TOLERANCE},
            "sha256": file_digest(out),
        }
        | ({"opset": OPSET, "onnx_packages": {p: version(p) for p in ONNX_PACKAGES}} if form == "onnx" else {}),
    )
    return difference


def write_network(network: nn.Module, out: Path, *, size: int, form: Format) -> float:
    """Write a network, load the file back, compare; the file gets its name only where both agree.

    Returns:
        The largest difference, at most TOLERANCE.

    Raises:
        BadInput: the network cannot be exported, or the file computes something else.
    """
    network = network.cpu().eval()
    with atomic(out) as temporary:
        with _quiet(), torch.no_grad():
            (_write_onnx if form == "onnx" else _write_torchscript)(network, temporary, pictures(EXAMPLES, size))
        difference = largest_difference(network, temporary, size=size, form=form)
        if not difference <= TOLERANCE:
            raise BadInput(
                seen=f"as {form} the network gives vectors that differ by up to {difference:.3g}",
                allowed=f"a difference of at most {TOLERANCE:g} at batches of {' and '.join(map(str, BATCHES))} images",
                remedy="choose the other --format; nothing was written",
            )
    return difference


def largest_difference(network: nn.Module, path: Path, *, size: int, form: Format) -> float:
    """Return the largest difference of any coordinate between a file and the network, over batches of every size of
    BATCHES.
    """
    with _quiet():
        run = _onnx_runner(path) if form == "onnx" else _torchscript_runner(path)
    differences = []
    with torch.inference_mode():
        for count in BATCHES:
            images = pictures(count, size)
            wanted, found = network(images), run(images)
            same = found.shape == wanted.shape and found.dtype == wanted.dtype
            differences.append(float((found - wanted).abs().max()) if same else float("inf"))
    # NaN compares as no order at all, so that it is looked for by itself.
    return float("nan") if any(d != d for d in differences) else max(differences)


def pictures(count: int, size: int) -> torch.Tensor:
    """Return (count, 3, size, size) uint8: blocks of random colours under noise, so that they differ at every scale."""
    draw = torch.Generator().manual_seed(count)
    blocks = torch.randint(0, 224, (count, 3, _BLOCKS, _BLOCKS), generator=draw).float()
    noise = torch.randint(0, 32, (count, 3, size, size), generator=draw)
    return (F.interpolate(blocks, size=(size, size)) + noise).to(torch.uint8)


def _network(recipe: config.Recipe, name: str | None) -> config.Network:
    networks = {member.name: member for member in recipe.members if isinstance(member, config.Network)}
    chosen = networks.get(name) if name else next(iter(networks.values())) if len(networks) == 1 else None
    if chosen is None:
        raise BadInput(
            seen=f"--member {name}" if name else f"no --member, and {len(networks)} networks in recipe {recipe.name!r}",
            allowed=f"a network of the recipe: {', '.join(networks) or 'it has none'}",
            remedy="name one of them with --member",
        )
    return chosen


def _require_onnx() -> None:
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingInput(
            seen=f"not installed: {', '.join(missing)}",
            allowed="the packages of requirements-export.txt",
            remedy="run: .venv/bin/pip install -r requirements-export.txt, or choose --format torchscript",
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings of torch's exporters: deprecations of their own, and doubts that the comparison settles."""
    with warnings.catch_warnings():
        for category in (FutureWarning, DeprecationWarning, torch.jit.TracerWarning):
            warnings.simplefilter("ignore", category=category)
        yield


def _write_onnx(network: nn.Module, path: Path, example: torch.Tensor) -> None:
    from torch.onnx import OnnxExporterError

    try:
        torch.onnx.export(
            network,
            (example,),
            str(path),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["embedding"],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            verbose=False,
        )
    except OnnxExporterError as error:
        raise BadInput(
            seen=f"torch.onnx cannot export this network: {str(error).strip().splitlines()[0]}",
            allowed="networks whose every step ONNX knows, for any number of images",
            remedy="choose --format torchscript; nothing was written",
        ) from error


def _write_torchscript(network: nn.Module, path: Path, example: torch.Tensor) -> None:
    # In memory first: on a full disk torch ends the process.
    made = io.BytesIO()
    torch.jit.save(torch.jit.trace(network, (example,), check_trace=False), made)
    path.write_bytes(made.getbuffer())


def _onnx_runner(path: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    session: Any = importlib.import_module("onnxruntime").InferenceSession(
        str(path), providers=["CPUExecutionProvider"]
    )
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def _torchscript_runner(path: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    return torch.jit.load(str(path), map_location="cpu").eval()


def _channels(network: nn.Module, name: str) -> list[float]:
    return dict(network.named_buffers())[name].flatten().tolist()
