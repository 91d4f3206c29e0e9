"""The recipe: one system as a frozen value, checked at birth, read from and written to JSON.

Full-scale numbers (batch, memory, images per epoch) are global; the engine divides them over the devices.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import yaml
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from isckit.config.base import STRICT, Count
from isckit.config.branches import PairNetwork, Views
from isckit.config.detecting import Detector, Overlays, Proposals, Substitution
from isckit.config.matching import Matching
from isckit.config.members import Fisher, Member, Network
from isckit.config.spaces import Ensemble, NormaliseStep, Stretch, Subtract
from isckit.config.training import (
    Stage,
)
from isckit.types import MAX_DIM, BadInput

RESERVED = "views"
"""No member has this name: the folder of views that differ from image to image stands beside those of members."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Extract:
    """Description of images by the members.

    Attributes:
        on_broken: stop with the full list, or replace by grey and report.
    """

    batch_images: Count = 32
    shard_images: Count = 2048
    on_broken: Literal["stop", "replace"] = "stop"
    bf16: bool = False


@dataclass(frozen=True, kw_only=True, config=STRICT)
class External:
    """Weights or images from outside, under a licence that the user vouches for.

    Attributes:
        licence: SPDX id.
        use: what it serves, with names of members.
    """

    name: str
    address: str
    licence: str
    use: str
    version: str = ""
    sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Recipe:
    """A whole system as one value."""

    name: str
    members: tuple[Member, ...]
    seed: int = 1
    extract: Extract = Extract()
    ensemble: Ensemble = Ensemble()
    normalise: tuple[NormaliseStep, ...] = (Subtract(), Stretch())
    detector: Detector | None = None
    proposals: Proposals = Proposals()
    overlays: Overlays = Overlays()
    substitution: Substitution | None = None
    matching: Matching = Matching()
    external: tuple[External, ...] = ()

    def __post_init__(self) -> None:
        names = [member.name for member in self.members]
        if not names or len(set(names)) < len(names) or any("." in name or "/" in name for name in names):
            raise ValueError(f"members need distinct names without '.' and '/', got {names}")
        others: list[PairNetwork | Detector] = [*self.pair_networks, *([self.detector] if self.detector else [])]
        taken = [*names, *(other.name for other in others)]
        if len(set(taken)) < len(taken) or RESERVED in taken:
            raise ValueError(f"members, pair networks and detector need distinct names, none {RESERVED!r}, got {taken}")
        needed = {"the ensemble": self.ensemble.members}
        for branch in self.matching.branches:
            needed[f"branch {branch.name}"] = branch.reads
        for network in self.pair_networks:
            needed[network.name] = tuple(filter(None, (network.neighbours, network.weights_of)))
        for who, wanted in needed.items():
            if unknown := set(wanted) - set(names):
                raise ValueError(f"{who} needs members {sorted(unknown)}, which are not there")
        if any(step.kind != "subtract" for step in self.normalise[:-1]):
            raise ValueError("stretch, push and offset exclude each other, and come last in normalise")
        if self.normalise and self.normalise[-1].kind == "offset" and self.ensemble.dim >= MAX_DIM:
            raise ValueError(f"offset adds a coordinate: ensemble.dim must be below {MAX_DIM}")

    @property
    def trained(self) -> tuple[Network, ...]:
        """Members that are trained."""
        return tuple(member for member in self.members if isinstance(member, Network) and member.stages)

    @property
    def pretrains(self) -> bool:
        """True where all training is of first weights, without labels or the contest's images."""
        return bool(self.stages) and all(s.loss.kind in ("barlow_twins", "momentum_teacher") for s in self.stages)

    @property
    def fitted(self) -> tuple[Fisher, ...]:
        """Members that are fitted on train images in one pass."""
        return tuple(member for member in self.members if isinstance(member, Fisher))

    @property
    def whole_only(self) -> Recipe:
        """The recipe with whole images alone to describe, as the Descriptor track needs it."""
        whole = replace(self.matching, branches=(Views(query_views=(), reference_views=()),), fused=())
        return replace(self, matching=whole)

    @property
    def pair_networks(self) -> tuple[PairNetwork, ...]:
        """The networks of all branches that look at both images at once."""
        return tuple(network for branch in self.matching.branches for network in branch.trains)

    @property
    def learns(self) -> bool:
        """True where any part of it is trained."""
        return bool(self.trained or self.fitted or self.detector or self.pair_networks)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages of all members."""
        return tuple(stage for member in self.trained for stage in member.stages)


def to_dict(recipe: Any) -> dict[str, Any]:
    """Return the resolved recipe, or a part of one, as plain values."""
    return dataclasses.asdict(recipe)


def to_json(recipe: Recipe) -> str:
    """Return the resolved recipe as canonical, readable JSON."""
    return json.dumps(to_dict(recipe), indent=2, sort_keys=True) + "\n"


def digest(recipe: Recipe) -> str:
    """Return the sha256 of the canonical JSON."""
    return hashlib.sha256(to_json(recipe).encode()).hexdigest()


def from_dict(values: dict[str, Any]) -> Recipe:
    """Return the recipe of plain values.

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
        given = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
        raise BadInput(
            seen=f"{f'recipe value {where}' if where else 'recipe'}{given}: {first['msg']}",
            allowed="the types in isckit.config",
            remedy="see the resolved values with: isckit recipes show NAME",
        ) from None


def override(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """Return the recipe with `a.b=value` settings; list elements go by index or name (members.gist.weight=2).

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
        key = _key_in(node, last, path)
        try:
            node[key] = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise BadInput(
                seen=f"--set {setting[:100]}", allowed="a value in YAML", remedy="close its brackets, and shorten it"
            ) from error
    return from_dict(values)


def merge(recipe: Recipe, values: dict[str, Any]) -> Recipe:
    """Return the recipe with nested values in place of its own.

    Mappings are merged key by key, and a mapping over a list names the elements that it changes, as in `override`.
    Anything else replaces what stands there. So does a mapping of another `kind`: it begins from that kind's defaults.

    Raises:
        BadInput: an unknown key or element (with the nearest right one), a wrong value.
    """
    return from_dict(_merged(to_dict(recipe), values, ""))


def _merged(base: Any, values: Any, path: str) -> Any:
    if not isinstance(values, dict) or not isinstance(base, (dict, list, tuple)):
        return values
    if isinstance(base, dict) and values.get("kind", base.get("kind")) != base.get("kind"):
        return values
    merged: Any = dict(base) if isinstance(base, dict) else list(base)
    for part, value in values.items():
        inner = f"{path}.{part}" if path else str(part)
        key = _key_in(base, str(part), inner)
        merged[key] = _merged(base[key], value, inner)
    return merged


def _key_in(node: Any, part: str, path: str) -> Any:
    names = list(node) if isinstance(node, dict) else []
    if isinstance(node, (list, tuple)):
        names = [str(item.get("name", item.get("kind"))) if isinstance(item, dict) else "" for item in node]
        if part in names:
            return names.index(part)
        if part.isdigit() and int(part) < len(node):
            return int(part)
    elif part in names:
        return part
    near = difflib.get_close_matches(part, names)
    raise _unknown_key(path, [".".join(right if p == part else p for p in path.split(".")) for right in near])


def _unknown_key(path: str, near: Sequence[str] = ()) -> BadInput:
    known = sorted(set(_all_paths(Recipe)))
    last = path.split(".")[-1]
    near = near or difflib.get_close_matches(path, known, n=3, cutoff=0.6)
    near = near or [
        k for k in known if k.split(".")[-1] in difflib.get_close_matches(last, [k.split(".")[-1] for k in known])
    ]
    return BadInput(
        seen=f"unknown recipe key {path!r}",
        allowed="the keys printed by: isckit recipes show NAME",
        remedy=f"did you mean {' or '.join(near[:3])}?" if near else "read the keys of each part in isckit.config",
    )


def _all_paths(kind: Any, prefix: str = "") -> Iterable[str]:
    for field in dataclasses.fields(kind):
        path = prefix + field.name
        yield path
        hint = get_type_hints(kind)[field.name]
        for inner in _dataclasses_in(hint):
            yield from _all_paths(inner, f"{path}.{_element(inner)}." if get_origin(hint) is tuple else f"{path}.")


def _element(kind: Any) -> str:
    """Return the default name of a list's element."""
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    return str(defaults.get("name", defaults.get("kind")))


def _dataclasses_in(hint: Any) -> list[Any]:
    if dataclasses.is_dataclass(hint):
        return [hint] if hint is not External else []
    return [found for part in get_args(hint) for found in _dataclasses_in(part)]
