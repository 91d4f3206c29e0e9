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
_AUTHORS_TRUNK = {0: "conv1", 1: "bn1", 4: "layer1", 5: "layer2", 7: "layer3", 9: "layer4"}
_TRUNK_AND_PROJECTOR = (
    *((rf"^base\.{i}\.", f"backbone.{name}.") for i, name in _AUTHORS_TRUNK.items()),
    (r"^base\.10\.p$", "pool.p"),
    (r"^projector_feat_bn\.0\.", "head.projector."),
    (r"^projector_feat_bn\.1\.", "head.projector.4."),
    (r"^classifier_.*", ""),
)
_HOW_TRUNK = {0: "conv1", 1: "bn1", 4: "layer1", 5: "layer2", 6: "layer3"}
_S_SQUARE = (
    (r"^criterion\..*", ""),
    (r"^backbone\.0\.(head\.)?global_pool\.p$", "pool.p"),
    (r"^backbone\.1\.", "head.fc."),
    (r"^backbone\.0\.", "backbone."),
)
_OLD_SWIN = "layers.0.downsample.reduction.weight"
"""Swin's first code reduces at the end of a stage; timm at the beginning of the next, so its first one has none."""


def _swin(prefix: str) -> tuple[tuple[str, str], ...]:
    """Return the substitutions from Swin's first names to timm's, under a prefix, so that none is applied twice."""
    stages = tuple((rf"^layers\.{i}\.downsample\.", f"{prefix}layers.{i + 1}.downsample.") for i in range(3))
    index = (r".*\.relative_position_index$", "")  # timm computes it
    return (index, *stages, (r"^(patch_embed|layers|norm)\.", rf"{prefix}\1."))


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
            *_TRUNK_AND_PROJECTOR,
            (r"^matrix_feat_bn\.0\.", "head.narrow."),
            (r"^matrix_feat_bn\.1\.", "head.narrow.3."),
        ),
    ),
    Layout(
        "D2LV (ISC-Track1-Submission), which has no narrow output",
        ("base.0.weight", "projector_feat_bn.0.0.weight"),
        _TRUNK_AND_PROJECTOR,
    ),
    Layout(
        "imgFp's fine-tuned EsViT (sun-xl/ISC2021)",
        (_OLD_SWIN, "head.linear.weight"),
        ((r"^head\.linear\.", "head.fc."), *_swin("backbone.model.")),
    ),
    Layout(
        "EsViT: a Swin trunk before timm renamed it, with the heads of its training",
        (_OLD_SWIN, "head.last_layer.weight_v"),
        ((r"^head(_dense)?\..*", ""), *_swin("backbone.")),
    ),
    Layout(
        "S-square: networks whose queries and references have a name each, with one set of weights",
        ("ref_backbone.conv_stem.weight", "ref_neck.0.weight"),
        (
            (r"^(qry_|criterion\.).*", ""),
            (r"^ref_backbone\.global_pool\.p$", "pool.p"),
            (r"^ref_backbone\.", "backbone."),
            (r"^ref_neck\.0\.", "head.fc."),
        ),
    ),
    *(
        Layout(f"S-square: {what}", ("backbone.1.weight", f"backbone.0.{pool}.p"), _S_SQUARE)
        for what, pool in (("EfficientNets", "global_pool"), ("NFNets", "head.global_pool"))
    ),
    Layout(
        "separate: a descriptor or a pair network in its trainer",
        ("model.module.convnet.cls_token", "model.module.projection.weight"),
        ((r"^model\.module\.convnet\.", "backbone."), (r"^model\.module\.projection\.", "head.fc.")),
    ),
    Layout(
        "HOW (how_r50-.pth), of either version of its file",
        ("features.0.weight", "features.6.0.conv1.weight"),
        (
            *((rf"^features\.{i}\.", f"backbone.{name}.") for i, name in _HOW_TRUNK.items()),
            (r"^(dim_reduction|whiten)\.", "head.fc."),
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
        return {key: _shaped(key, value) for key, value in renamed.items()}
    if any(key.startswith("backbone.") for key in weights):
        return dict(weights)
    return {f"backbone.{key}": value for key, value in weights.items()}


def pair_keys(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of a pair network's file under the kit's names: what a member has as head is its logit."""
    return {key.replace("head.fc.", "logit."): value for key, value in member_keys(weights).items()}


def _shaped(key: str, value: torch.Tensor) -> torch.Tensor:
    """Return the one power of GeM as a number, and a convolution of one pixel as a linear layer."""
    if key == "pool.p":
        return value.reshape(())
    return value.flatten(1) if key == "head.fc.weight" else value


def _renamed(key: str, renames: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in renames:
        key = re.sub(pattern, replacement, key)
    return key
