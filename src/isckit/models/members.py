"""Ensemble members from a recipe and one table of weights, keyed "<member>.<parameter>"."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch

from isckit import config
from isckit.models.fisher import FisherDescriber
from isckit.models.gist import GistDescriber
from isckit.models.hashes import HashDescriber
from isckit.models.layouts import member_keys, pair_keys
from isckit.models.network import EmbeddingNetwork
from isckit.models.pair import PairClassifier
from isckit.runs.checkpoints import read_weights
from isckit.types import BadInput

Built = EmbeddingNetwork | FisherDescriber | GistDescriber | HashDescriber

AnyPart = TypeVar("AnyPart", bound=config.Member | config.PairNetwork)

_NOT_PUBLISHED = ("mean", "std", "pool.p")
"""Tensors that others' weight files lack, since their code has them: preprocessing, and the power of a fixed GeM."""


def build(settings: config.Member) -> Built:
    """Return one member with fresh weights (timm's own where the recipe names pretrained ones)."""
    match settings:
        case config.Network():
            return EmbeddingNetwork(settings)
        case config.Fisher():
            return FisherDescriber(settings)
        case config.Hash():
            return HashDescriber(settings)
        case config.Gist():
            return GistDescriber()


def load(recipe: config.Recipe, weights: Mapping[str, torch.Tensor], *, device: torch.device) -> list[Built]:
    """Return all members of a recipe with their weights, in evaluation mode.

    Raises:
        BadInput: tensors missing, left over or of another shape; the message names them.
    """
    members: dict[str, Built] = {}
    others = [network.name for network in recipe.pair_networks] + ([recipe.detector.name] if recipe.detector else [])
    foreign = tuple(f"{name}." for name in others)  # of parts that load their own
    left = {key: value for key, value in weights.items() if not key.startswith(foreign)}
    for settings in recipe.members:
        member = build(_without_download(settings))
        source = weights_from(recipe, settings)
        if source is settings:
            prefix = f"{settings.name}."
            own = {key.removeprefix(prefix): left.pop(key) for key in list(left) if key.startswith(prefix)}
        else:
            own = members[source.name].state_dict()
        _refuse_unfit(settings.name, own, member.state_dict())
        # A member that shares weights takes the very tensors, so that they lie in memory once.
        member.load_state_dict(own, assign=source is not settings)
        members[settings.name] = member.to(device).eval()
    if left:
        raise _mismatch("no member of the recipe", sorted(left))
    return list(members.values())


def weights_from(recipe: config.Recipe, settings: config.Member) -> config.Member:
    """Return the member whose weights a member uses: itself, or the earlier network that it names.

    Raises:
        BadInput: no network with weights of its own has that name and stands before it.
    """
    if not isinstance(settings, config.Network) or not settings.weights_of:
        return settings
    earlier = recipe.members[: recipe.members.index(settings)]
    own = {other.name: other for other in earlier if isinstance(other, config.Network) and not other.weights_of}
    if settings.weights_of not in own:
        raise BadInput(
            seen=f"member {settings.name} uses the weights of {settings.weights_of}",
            allowed=f"a network with weights of its own that stands before it: {', '.join(own) or 'there is none'}",
            remedy="correct weights_of, or the order of the members",
        )
    return own[settings.weights_of]


def read(recipe: config.Recipe, path: Path) -> dict[str, torch.Tensor]:
    """Read weights for `load` from the kit's own file, or, for a recipe with one network, from a published one.

    A folder has a file for each member, `MEMBER.pth` or with any other ending.

    Raises:
        MissingInput, BadInput: no such file, not safe to read, or a published network that does not fit.
    """
    networks = [m for m in recipe.members if isinstance(m, config.Network) and weights_from(recipe, m) is m]
    if path.is_dir():
        return _read_each(recipe, networks, path)
    weights = read_weights(path)
    if len(networks) != 1 or any(key.startswith(tuple(f"{m.name}." for m in recipe.members)) for key in weights):
        return weights
    return prefixed(networks[0].name, _completed(member_keys(weights), networks[0]))


def _read_each(recipe: config.Recipe, networks: list[config.Network], folder: Path) -> dict[str, torch.Tensor]:
    files = sorted(file for file in folder.iterdir() if file.is_file())
    by_name: dict[str, list[Path]] = {}
    for file in files:
        by_name.setdefault(file.name.partition(".")[0], []).append(file)
    double = [f"{a.name} and {b.name}" for a, b, *_ in (own for own in by_name.values() if len(own) > 1)]
    missing = [network.name for network in networks if network.name not in by_name]
    if missing or double:
        faults = [f"no file for {', '.join(missing[:5])} ({len(missing)} members)"] if missing else []
        raise BadInput(
            seen=f"{folder}: {'; '.join(faults + double)}; files: {', '.join(f.name for f in files[:5]) or 'none'}",
            allowed="one file for each network, called after it: MEMBER.pth, MEMBER.pth.tar, MEMBER.safetensors",
            remedy=f"rename the files, or link them under these names (isckit recipes show {recipe.name} lists them)",
        )
    settings: dict[str, config.Network | config.PairNetwork] = {network.name: network for network in networks}
    settings |= {network.name: network for network in recipe.pair_networks}
    others = [member.name for member in recipe.members if not isinstance(member, config.Network)]
    others += [recipe.detector.name] if recipe.detector is not None else []
    weights: dict[str, torch.Tensor] = {}
    for name in by_name.keys() & {*settings, *others}:
        own = {key.removeprefix(f"{name}."): value for key, value in read_weights(by_name[name][0]).items()}
        if name in settings:
            keys = pair_keys if isinstance(settings[name], config.PairNetwork) else member_keys
            own = _completed(keys(own), settings[name])
        weights |= prefixed(name, own)
    return weights


def member_weights(path: Path, settings: config.Network) -> dict[str, torch.Tensor] | None:
    """Read a whole network's weights, published or the kit's own; return None for a file of a backbone only.

    Raises:
        MissingInput, BadInput: no such file, not safe to read, or tensors missing, left over or of another shape.
    """
    weights = member_keys(read_weights(path))
    return _completed(weights, settings) if any(key.startswith("head.") for key in weights) else None


def prefixed(name: str, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a member's weights under its name."""
    return {f"{name}.{key}": value for key, value in weights.items()}


def _completed(
    weights: Mapping[str, torch.Tensor], settings: config.Network | config.PairNetwork
) -> dict[str, torch.Tensor]:
    """Return the weights with those values of the recipe that the file lacks, and its missing counters of batches."""
    plain = _without_download(settings)
    fresh = (PairClassifier(plain) if isinstance(plain, config.PairNetwork) else build(plain)).state_dict()
    said = {k: v for k, v in fresh.items() if k in _NOT_PUBLISHED or k.endswith("num_batches_tracked")}
    completed = said | dict(weights)
    _refuse_unfit(settings.name, completed, fresh)
    return completed


def _without_download(settings: AnyPart) -> AnyPart:
    """Return the settings without pretrained weights, which are about to be replaced and need not be fetched."""
    if isinstance(settings, config.Network | config.PairNetwork):
        return config.replace(settings, backbone=config.replace(settings.backbone, pretrained="none"))
    return settings


def _refuse_unfit(name: str, own: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    wrong = [f"{key} missing" for key in expected if key not in own]
    wrong += [f"{key} unknown" for key in own if key not in expected]
    wrong += [
        f"{key} {tuple(own[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected.keys() & own.keys()
        if own[key].shape != expected[key].shape
    ]
    if wrong:
        raise _mismatch(name, wrong)


def _mismatch(member: str, wrong: list[str]) -> BadInput:
    return BadInput(
        seen=f"weights of {member}: {'; '.join(wrong[:5])}" + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""),
        allowed="exactly the tensors of the recipe's members, keyed <member>.<parameter>",
        remedy="use the recipe that the checkpoint was made with (isckit recipes show FILE), or another checkpoint",
    )
