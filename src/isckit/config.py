"""The whole vocabulary of a recipe: frozen dataclasses, checked at birth, read from and written to JSON.

Full-scale numbers (batch, memory, images per epoch) are global; the engine divides them over the devices.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from isckit.types import BadInput
from isckit.workspace import MAX_DIM, MAX_ROWS

_strict = ConfigDict(extra="forbid")
Count = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, kw_only=True, config=_strict)
class Augment:
    """The two views of a training pair, by the names of `augment.pipelines`."""

    weak: str = "weak"
    strong: str = "strong"


@dataclass(frozen=True, kw_only=True, config=_strict)
class Loss:
    """Metric loss over the batch and a cross-batch memory (XBM, Wang et al. 2020).

    `contrastive` is lyakaap's: L2 distance, mean over active pairs. `infonce` is the softmax over the memory.
    """

    kind: Literal["contrastive", "infonce"] = "contrastive"
    positive_margin: NotNegative = 0.0
    negative_margin: NotNegative = 1.0
    temperature: Positive = 0.05
    memory: Count = 20_000


@dataclass(frozen=True, kw_only=True, config=_strict)
class Optim:
    """Optimiser and schedule; `lr` belongs to the global batch."""

    name: Literal["adamw", "sgd"] = "adamw"
    lr: Positive = 1e-3
    weight_decay: NotNegative = 0.05
    momentum: NotNegative = 0.9
    warmup_epochs: NotNegative = 1.0
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    clip: NotNegative = 0.0


@dataclass(frozen=True, kw_only=True, config=_strict)
class Train:
    """One training stage. An epoch draws `images_per_epoch` images (0: each train image once), two views each."""

    epochs: Count = 10
    images_per_epoch: Annotated[int, Field(ge=0)] = 0
    batch_images: Annotated[int, Field(gt=1)] = 128
    augment: Augment = Augment()
    loss: Loss = Loss()
    optim: Optim = Optim()
    amp: bool = True


@dataclass(frozen=True, kw_only=True, config=_strict)
class Network:
    """Ensemble member: timm backbone + GeM + linear + BN + L2.

    `pretrained` is "none", "hub" (fetched by timm) or the path of a local weight file in timm's key layout.
    Images are reduced once to a square canvas, from which every view is cut and resized to `image_size`.
    """

    kind: Literal["network"] = "network"
    name: str = "network"
    backbone: str = "mobilenetv4_conv_small"
    pretrained: str = "none"
    dim: Count = 256
    gem_p: Positive = 3.0
    gem_learnable: bool = True
    image_size: Count = 160
    canvas: Count = 320
    weight: Positive = 1.0
    train: Train | None = Train()


@dataclass(frozen=True, kw_only=True, config=_strict)
class Gist:
    """Ensemble member without weights: colour GIST, 960-d (Oliva & Torralba 2001; the organisers' baseline)."""

    kind: Literal["gist"] = "gist"
    name: str = "gist"
    weight: Positive = 1.0


Member = Annotated[Network | Gist, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=_strict)
class Extract:
    """How images become embeddings. `on_broken`: stop with the full list, or replace by grey and report."""

    batch_images: Count = 32
    shard_images: Count = 2048
    on_broken: Literal["stop", "replace"] = "stop"
    bf16: bool = False


@dataclass(frozen=True, kw_only=True, config=_strict)
class Ensemble:
    """Concatenated members -> PCA fitted on train -> L2. `whiten` is the eigenvalue power: 0 none, 0.5 full."""

    dim: Annotated[int, Field(gt=0, le=MAX_DIM)] = 256
    whiten: NotNegative = 0.25
    fit_images: Count = 200_000


@dataclass(frozen=True, kw_only=True, config=_strict)
class Normalise:
    """Descriptor normalisation against train, in the order of `steps`.

    subtract: x <- unit(x - beta * mean of the k nearest train vectors), both sides (lyakaap).
    stretch: q <- alpha * mean of the n largest train similarities * q, queries only (visionForce).
    """

    steps: tuple[Literal["subtract", "stretch"], ...] = ("subtract", "stretch")
    k: Count = 10
    beta: NotNegative = 0.35
    n: Count = 5
    alpha: Positive = 2.5


@dataclass(frozen=True, kw_only=True, config=_strict)
class Matching:
    """Global top-N search over views.

    Score of two views: similarity - norm_factor * mean of the query view's train similarities at ranks norm_first to
    norm_last, and crop_penalty less for each of the two that is not the whole image.
    """

    query_views: tuple[str, ...] = ("mirror", "rotations", "centre_large", "two_thirds", "half_grid")
    reference_views: tuple[str, ...] = ("centre_large", "two_thirds")
    norm_factor: NotNegative = 1.5
    norm_first: Count = 1
    norm_last: Count = 5
    crop_penalty: NotNegative = 0.12
    rows_per_query: Count = 10
    max_rows: Annotated[int, Field(gt=0, le=MAX_ROWS)] = MAX_ROWS


@dataclass(frozen=True, kw_only=True, config=_strict)
class External:
    """Weights or images from outside, under a licence (SPDX id) that the user vouches for; `use` names members."""

    name: str
    address: str
    licence: str
    use: str
    version: str = ""
    sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""


@dataclass(frozen=True, kw_only=True, config=_strict)
class Recipe:
    """A whole system as one value."""

    name: str
    members: tuple[Member, ...]
    seed: int = 1
    extract: Extract = Extract()
    ensemble: Ensemble = Ensemble()
    normalise: Normalise = Normalise()
    matching: Matching = Matching()
    external: tuple[External, ...] = ()

    def __post_init__(self) -> None:
        names = [member.name for member in self.members]
        if not names or len(set(names)) < len(names) or any("." in name or "/" in name for name in names):
            raise ValueError(f"members need distinct names without '.' and '/', got {names}")
        if self.matching.norm_last < self.matching.norm_first:
            raise ValueError("matching.norm_last must not be smaller than matching.norm_first")


__all__ = ["replace"]


def to_dict(recipe: Any) -> dict[str, Any]:
    """The resolved recipe, or a part of one, as plain values."""
    return dataclasses.asdict(recipe)


def to_json(recipe: Recipe) -> str:
    """The resolved recipe as canonical, readable JSON."""
    return json.dumps(to_dict(recipe), indent=2, sort_keys=True) + "\n"


def digest(recipe: Recipe) -> str:
    """sha256 of the canonical JSON."""
    return hashlib.sha256(to_json(recipe).encode()).hexdigest()


def from_dict(values: dict[str, Any]) -> Recipe:
    """Build a recipe from plain values.

    Raises:
        BadInput: an unknown or misspelt key, with the nearest known one; a value of the wrong type.
    """
    try:
        return TypeAdapter(Recipe).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            raise _unknown_key(where) from None
        raise BadInput(
            seen=f"recipe value {where} = {first.get('input')!r}: {first['msg']}",
            allowed="the types in isckit.config",
            remedy="see the resolved values with: isckit recipes show NAME",
        ) from None


def override(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """Apply `a.b=value` settings; list elements are named by index or by the element's name (members.gist.weight=2).

    Raises:
        BadInput: a setting without "=", an unknown key (with the nearest right one), a wrong value.
    """
    values = to_dict(recipe)
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise BadInput(seen=f"--set {setting}", allowed="--set key.path=value", remedy="add '=' and a value")
        *parents, last = path.strip().split(".")
        node: Any = values
        for part in parents:
            node = node[_key_in(node, part, path)]
        node[_key_in(node, last, path)] = yaml.safe_load(text)
    return from_dict(values)


def _key_in(node: Any, part: str, path: str) -> Any:
    if isinstance(node, dict) and part in node:
        return part
    if isinstance(node, (list, tuple)):
        names = [item.get("name") if isinstance(item, dict) else None for item in node]
        if part in names:
            return names.index(part)
        if part.isdigit() and int(part) < len(node):
            return int(part)
    raise _unknown_key(path)


def _unknown_key(path: str) -> BadInput:
    known = sorted(set(_all_paths(Recipe)))
    last = path.split(".")[-1]
    near = difflib.get_close_matches(path, known, n=3, cutoff=0.6) or [
        k for k in known if k.split(".")[-1] in difflib.get_close_matches(last, [k.split(".")[-1] for k in known])
    ]
    return BadInput(
        seen=f"unknown recipe key {path!r}",
        allowed="the keys printed by: isckit recipes show NAME",
        remedy=f"did you mean {' or '.join(near[:3])}?" if near else "look the key up in isckit.config",
    )


def _all_paths(kind: Any, prefix: str = "") -> Iterable[str]:
    for field in dataclasses.fields(kind):
        path = prefix + field.name
        yield path
        for inner in _dataclasses_in(_HINTS[kind.__name__][field.name]):
            middle = f"{inner().name}." if field.name == "members" else ""
            yield from _all_paths(inner, f"{path}.{middle}")


def _dataclasses_in(hint: Any) -> list[Any]:
    if dataclasses.is_dataclass(hint):
        return [hint] if hint is not External else []
    return [found for part in get_args(hint) for found in _dataclasses_in(part)]


def _hints() -> dict[str, dict[str, Any]]:
    from typing import get_type_hints

    kinds = (Augment, Loss, Optim, Train, Network, Gist, Extract, Ensemble, Normalise, Matching, External, Recipe)
    return {kind.__name__: get_type_hints(kind) for kind in kinds}


_HINTS = _hints()
