"""Parts of a backbone that keep their weights and batch statistics while the rest is trained."""

from __future__ import annotations

from typing import Any

from isckit import config
from isckit.types import BadInput

LAST_STAGE = "layer4"
"""timm's name of a ResNet's last stage."""


def freeze(model: Any, settings: config.Backbone) -> tuple[str, ...]:
    """Take the parameters of the frozen parts out of training and return the names of these parts ("": all of it).

    Raises:
        BadInput: all but the last stage of a backbone that is no ResNet.
    """
    if settings.frozen == "none":
        return ()
    if settings.frozen == "but_last" and not hasattr(model, LAST_STAGE):
        raise BadInput(
            seen=f"backbone {settings.name!r} with frozen=but_last",
            allowed="frozen=but_last for ResNets",
            remedy="choose such a backbone, or frozen=all or none",
        )
    parts = ("",) if settings.frozen == "all" else tuple(n for n, _ in model.named_children() if n != LAST_STAGE)
    for name in parts:
        model.get_submodule(name).requires_grad_(False)
    return parts
