"""Published weight files: recognised by their keys, renamed to the kit's. Layouts of data sets: `data.layouts`.

The kit's keys of a network: backbone.* (timm's names; for ResNets also torchvision's and IBN-Net's), pool.p, head.*.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Layout:
    """Keys that only this layout has, and the substitutions for its keys, in order; "" drops a key."""

    source: str
    markers: tuple[str, ...]
    renames: tuple[tuple[str, str], ...]


_CLASSY_STAGES = tuple((rf"^backbone\.blocks\.{i}\.block{i}-(\d+)\.", rf"backbone.layer{i + 1}.\1.") for i in range(4))
_VISIONFORCE_TRUNK = {0: "conv1", 1: "bn1", 4: "layer1", 5: "layer2", 7: "layer3", 9: "layer4"}

LAYOUTS = (
    Layout(
        "lyakaap: isc_selfsup_v98, isc_ft_v107 (ISC21-Descriptor-Track-1st)",
        ("backbone.conv_stem.weight", "fc.weight", "bn.weight"),
        ((r"^(fc|bn)\.", r"head.\1."),),
    ),
    Layout(
        "SSCD, torchvision's names (.torchvision.pt)",
        ("backbone.conv1.weight", "backbone.fc.weight"),
        ((r"^backbone\.fc\.", "head.fc."),),
    ),
    Layout(
        "SSCD, Classy Vision's names (.classy.pt and .torchscript.pt)",
        ("backbone.initial_block._module.0.weight", "embeddings.1.weight"),
        (
            (r"^backbone\.initial_block\._module\.0\.", "backbone.conv1."),
            (r"^backbone\.initial_block\._module\.1\.", "backbone.bn1."),
            *_CLASSY_STAGES,
            (r"(layer\d\.\d+)\.bn\.", r"\1.bn3."),
            *((rf"\.convolutional_block\.{3 * i}\.", f".conv{i + 1}.") for i in range(3)),
            *((rf"\.convolutional_block\.{3 * i + 1}\.", f".bn{i + 1}.") for i in range(2)),
            (r"^embeddings\.1\.", "head.fc."),
        ),
    ),
    Layout(
        "visionForce (ISC-Track2-Submission)",
        ("base.0.weight", "projector_feat_bn.0.0.weight", "matrix_feat_bn.1.weight"),
        (
            *((rf"^base\.{i}\.", f"backbone.{name}.") for i, name in _VISIONFORCE_TRUNK.items()),
            (r"^base\.10\.p$", "pool.p"),
            (r"^projector_feat_bn\.0\.", "head.projector."),
            (r"^projector_feat_bn\.1\.", "head.projector.4."),
            (r"^matrix_feat_bn\.0\.", "head.narrow."),
            (r"^matrix_feat_bn\.1\.", "head.narrow.3."),
            (r"^classifier_.*", ""),
        ),
    ),
    Layout(
        "MultiGrain (multigrain_joint_3B_0.5.pth), of which the trunk alone is used",
        ("features.conv1.weight", "features.layer4.0.conv1.weight"),
        ((r"^(?!features\.).*", ""), (r"^features\.", "backbone.")),
    ),
)


def member_keys(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a weight file's tensors under the kit's names; keys that no layout explains keep theirs.

    A table without any backbone.* is taken for a bare backbone in timm's or torchvision's names. The kit's own file of
    a single member loses that member's name.
    """
    owners = {key.partition(".")[0] for key in weights}
    if len(owners) == 1 and f"{(owner := owners.pop())}.mean" in weights:
        return {key.removeprefix(f"{owner}."): value for key, value in weights.items()}
    layout = next((layout for layout in LAYOUTS if all(marker in weights for marker in layout.markers)), None)
    if layout is not None:
        renamed = {_renamed(key, layout.renames): value for key, value in weights.items()}
        renamed.pop("", None)
        # Some keep the one power of GeM as a vector of one element.
        return {key: value.reshape(()) if key == "pool.p" else value for key, value in renamed.items()}
    if any(key.startswith("backbone.") for key in weights):
        return dict(weights)
    return {f"backbone.{key}": value for key, value in weights.items()}


def _renamed(key: str, renames: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in renames:
        key = re.sub(pattern, replacement, key)
    return key
