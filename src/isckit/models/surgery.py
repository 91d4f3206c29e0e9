"""Changes to a timm backbone that keep its parameters' names, so that weight files still fit."""

from __future__ import annotations

from typing import Any

from torch import nn

from isckit import config
from isckit.models.ibn import InstanceBatchNorm
from isckit.models.waveblock import WaveBlock
from isckit.types import BadInput

HEAD_CONVOLUTION = ("conv_head", "bn2")
"""What stands after the last stage of an EfficientNet."""
LAST_STAGE = ("layer4",)
"""The last stage of a ResNet."""


def operate(model: Any, settings: config.Backbone) -> None:
    """Change a model in place as the recipe says.

    Raises:
        BadInput: the architecture has no such part.
    """
    if settings.cut == "stages":
        _drop_head_convolution(model, settings.name)
    elif settings.cut == "last_stage":
        _drop_last_stage(model, settings.name)
    changes = {"stride16": _keep_resolution, "ibn": _split_norms, "wave": _insert_waves}
    wanted = [name for name in changes if getattr(settings, name)]
    if wanted and not _is_resnet(model):
        raise _unfit(settings.name, ", ".join(wanted), "ResNets")
    for name in wanted:
        changes[name](model, settings.name)


def _is_resnet(model: nn.Module) -> bool:
    from timm.models.resnet import ResNet

    return isinstance(model, ResNet)


def _drop_head_convolution(model: Any, name: str) -> None:
    from timm.models.efficientnet import EfficientNet

    if _is_resnet(model):
        return  # nothing stands between its last stage and the pooling
    if not isinstance(model, EfficientNet):
        raise _unfit(name, "cut=stages", "EfficientNets and ResNets")
    for part in HEAD_CONVOLUTION:
        setattr(model, part, nn.Identity())
    model.num_features = model.feature_info[-1]["num_chs"]


def _drop_last_stage(model: Any, name: str) -> None:
    if not _is_resnet(model):
        raise _unfit(name, "cut=last_stage", "ResNets")
    for part in LAST_STAGE:
        setattr(model, part, nn.Sequential())  # an identity that gradient checkpointing takes for a stage
    model.num_features = model.feature_info[-2]["num_chs"]


def unused_parts(settings: config.Backbone) -> tuple[str, ...]:
    """Parts that weight files may hold and the model has no more."""
    return {"head": (), "stages": HEAD_CONVOLUTION, "last_stage": LAST_STAGE}[settings.cut]


def _keep_resolution(model: Any, name: str) -> None:
    """Stride 1 in the first block of the last stage: its 3x3 convolution, and its shortcut (plain or pooled)."""
    block = model.layer4[0]
    for path, module in list(block.named_modules()):
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
        elif isinstance(module, nn.AvgPool2d):
            block.set_submodule(path, nn.Identity())
        elif path and getattr(module, "stride", 1) != 1:
            raise _unfit(
                name, "stride16", f"ResNets that reduce by convolution or mean, not by {type(module).__name__}"
            )


def _split_norms(model: Any, name: str) -> None:
    for stage in (model.layer1, model.layer2, model.layer3):
        for block in stage:
            if type(block.bn1) is not nn.BatchNorm2d:
                raise _unfit(name, "ibn", "ResNets with batch normalisation")
            block.bn1 = InstanceBatchNorm(block.bn1.num_features)


def _insert_waves(model: Any, name: str) -> None:
    # Inside the stages, so that whatever runs a stage (gradient checkpointing too) runs the wave.
    for stage in (model.layer2, model.layer3):
        stage.append(WaveBlock())


def _unfit(name: str, change: str, allowed: str) -> BadInput:
    return BadInput(
        seen=f"backbone {name!r} with {change}",
        allowed=f"{change} for {allowed}",
        remedy="choose such a backbone, or leave the change out of the recipe",
    )
