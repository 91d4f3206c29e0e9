"""Ensemble members from a recipe and one table of weights, keyed "<member>.<parameter>"."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from isckit import config
from isckit.models.gist import GistDescriber
from isckit.models.network import EmbeddingNetwork
from isckit.types import BadInput

Built = EmbeddingNetwork | GistDescriber


def build(settings: config.Member) -> Built:
    """One member with fresh weights (timm's own where the recipe names pretrained ones)."""
    return EmbeddingNetwork(settings) if isinstance(settings, config.Network) else GistDescriber()


def load(recipe: config.Recipe, weights: Mapping[str, torch.Tensor], *, device: torch.device) -> list[Built]:
    """All members of a recipe with their weights, in evaluation mode.

    Raises:
        BadInput: tensors missing, left over or of another shape; the message names them.
    """
    members = []
    left = dict(weights)
    for settings in recipe.members:
        prefix = f"{settings.name}."
        own = {key.removeprefix(prefix): left.pop(key) for key in list(left) if key.startswith(prefix)}
        member = build(_without_download(settings))
        expected = member.state_dict()
        wrong = [f"{key} missing" for key in expected if key not in own]
        wrong += [f"{key} unknown" for key in own if key not in expected]
        wrong += [
            f"{key} {tuple(own[key].shape)} instead of {tuple(expected[key].shape)}"
            for key in expected.keys() & own.keys()
            if own[key].shape != expected[key].shape
        ]
        if wrong:
            raise _mismatch(settings.name, wrong)
        member.load_state_dict(own)
        members.append(member.to(device).eval())
    if left:
        raise _mismatch("no member of the recipe", sorted(left))
    return members


def prefixed(name: str, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A member's weights under its name."""
    return {f"{name}.{key}": value for key, value in weights.items()}


def _without_download(settings: config.Member) -> config.Member:
    """Weights are about to be replaced, so the pretrained ones need not be fetched again."""
    if isinstance(settings, config.Network):
        return config.replace(settings, pretrained="none")
    return settings


def _mismatch(member: str, wrong: list[str]) -> BadInput:
    return BadInput(
        seen=f"weights of {member}: {'; '.join(wrong[:5])}" + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""),
        allowed="exactly the tensors of the recipe's members, keyed <member>.<parameter>",
        remedy="use the recipe that the checkpoint was made with (isckit recipes show FILE), or another checkpoint",
    )
