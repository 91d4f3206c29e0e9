"""timm backbones: made by name, frozen and changed as the recipe says, with random, fetched or local weights."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from isckit import config
from isckit.models.layers import InstanceBatchNorm, WaveBlock
from isckit.models.layouts import member_keys
from isckit.runs.checkpoints import read_weights
from isckit.types import BadInput, MissingInput

HEAD_CONVOLUTION = ("conv_head", "bn2")
"""Parts after the last stage of an EfficientNet, in timm's names."""
LAST_STAGE = "layer4"
"""The last stage of a ResNet, in timm's names."""


def backbone(settings: config.Backbone) -> Any:
    """Return a timm backbone without classifier, `num_features` channels; random, from timm's hub, or from a file.

    Raises:
        BadInput: no such model, a change that it cannot take, or a file that does not fit.
    """
    if settings.pretrained != "hub":
        # Without this timm asks the network even where nothing is to be fetched; must be set before its import.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import timm

    if not timm.is_model(settings.name):
        near = timm.list_models(f"*{settings.name.split('_')[0]}*")[:5]
        raise BadInput(
            seen=f"backbone {settings.name!r}",
            allowed="a timm model name" + (f", such as {', '.join(near)}" if near else ""),
            remedy="correct the recipe's backbone",
        )
    if settings.ibn and settings.pretrained == "hub":
        raise BadInput(
            seen=f"{settings.name} with ibn and timm's weights",
            allowed="weights that were trained with instance normalisation, or none",
            remedy="name a local file of such weights in backbone.pretrained",
        )
    window: dict[str, Any] = {"window_size": settings.window} if settings.window else {}
    hub = settings.pretrained == "hub"
    try:
        model = timm.create_model(settings.name, pretrained=hub, num_classes=0, global_pool="", **window)
    except OSError as error:
        if not hub:
            raise
        raise MissingInput(
            seen=f"the weights of {settings.name} are neither in the cache (HF_HOME) nor to be had: {error}",
            allowed="a connection for the first time, or weights that are at hand",
            remedy="connect once; or set pretrained of this member's backbone to a weight file, or to none; "
            "or pass --checkpoint with the weights of a whole run",
        ) from error
    operate(model, settings)
    if settings.pretrained not in ("none", "hub"):
        _load(model, Path(settings.pretrained), cut=_unused_parts(settings))
    return LastBlocks(model, settings.blocks) if settings.blocks else model


class LastBlocks(nn.Module):
    """The mean tokens of the last blocks of a windowed transformer, side by side (EsViT, Li et al. 2022; imgFp).

    Blocks of the last stage go through the model's final normalisation, as in EsViT's code; earlier ones do not. So
    does the epsilon of all normalisations follow it, which is a tenth of timm's.

    Raises:
        BadInput: a model without stages of blocks, or with fewer of them.
    """

    def __init__(self, model: Any, count: int) -> None:
        super().__init__()
        stages = [list(stage.blocks) for stage in getattr(model, "layers", []) if hasattr(stage, "blocks")]
        last = [(block, stage is stages[-1]) for stage in stages for block in stage][-count:]
        if len(last) < count:
            raise BadInput(
                seen=f"the last {count} blocks of a backbone with {len(last)} in its stages",
                allowed="a Swin transformer of timm with so many blocks",
                remedy="correct backbone.blocks or backbone.name",
            )
        self.model, self.pretrained_cfg = model, model.pretrained_cfg
        for norm in (module for module in model.modules() if isinstance(module, nn.LayerNorm)):
            norm.eps = 1e-6
        self._means: dict[int, torch.Tensor] = {}
        for number, (block, normed) in enumerate(last):
            block.register_forward_hook(functools.partial(self._note, number, normed))
        with torch.no_grad():
            size = model.pretrained_cfg["input_size"][1]
            self.num_features = self.forward_features(torch.zeros(1, 3, size, size)).shape[1]

    def _note(self, number: int, normed: bool, block: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        tokens = self.model.norm(output) if normed else output
        self._means[number] = tokens.float().flatten(1, -2).mean(1)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, sum of widths, 1, 1) of (B, 3, S, S)."""
        self.model.forward_features(x)
        return torch.cat([self._means.pop(number) for number in sorted(self._means)], dim=1)[..., None, None]


def normalisation(model: Any, kind: str) -> dict[str, tuple[float, ...]]:
    """Return mean and std of the input in [0, 1], a value a channel: the "backbone"'s own, or "imagenet"'s."""
    from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, resolve_model_data_config

    if kind == "imagenet":
        return {"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD}
    own = resolve_model_data_config(model)
    return {name: own[name] for name in ("mean", "std")}


def as_map(model: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Return the map (B, C, H, W) of convolutional (NCHW), windowed (NHWC) and token (B, N, C) features."""
    if features.ndim == 3:
        return features[:, getattr(model, "num_prefix_tokens", 0) :].transpose(1, 2).unsqueeze(-1)
    if features.shape[1] != model.num_features and features.shape[-1] == model.num_features:
        return features.permute(0, 3, 1, 2)
    return features


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
        raise _unfit_change(settings.name, ", ".join(wanted), "ResNets")
    for name in wanted:
        changes[name](model, settings.name)


def _drop_head_convolution(model: Any, name: str) -> None:
    from timm.models.efficientnet import EfficientNet

    if _is_resnet(model):
        return  # nothing stands between its last stage and the pooling
    if not isinstance(model, EfficientNet):
        raise _unfit_change(name, "cut=stages", "EfficientNets and ResNets")
    for part in HEAD_CONVOLUTION:
        setattr(model, part, nn.Identity())
    model.num_features = model.feature_info[-1]["num_chs"]


def _drop_last_stage(model: Any, name: str) -> None:
    if not _is_resnet(model):
        raise _unfit_change(name, "cut=last_stage", "ResNets")
    setattr(model, LAST_STAGE, nn.Sequential())  # an identity that gradient checkpointing takes for a stage
    model.num_features = model.feature_info[-2]["num_chs"]


def _keep_resolution(model: Any, name: str) -> None:
    """Set stride 1 in the first block of the last stage: its 3x3 convolution, and its shortcut (plain or pooled)."""
    block = model.layer4[0]
    for path, module in list(block.named_modules()):
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
        elif isinstance(module, nn.AvgPool2d):
            block.set_submodule(path, nn.Identity())
        elif path and getattr(module, "stride", 1) != 1:
            raise _unfit_change(
                name, "stride16", f"ResNets that reduce by convolution or mean, not by {type(module).__name__}"
            )


def _split_norms(model: Any, name: str) -> None:
    for stage in (model.layer1, model.layer2, model.layer3):
        for block in stage:
            if type(block.bn1) is not nn.BatchNorm2d:
                raise _unfit_change(name, "ibn", "ResNets with batch normalisation")
            block.bn1 = InstanceBatchNorm(block.bn1.num_features)


def _insert_waves(model: Any, name: str) -> None:
    # Inside the stages, so that whatever runs a stage (gradient checkpointing too) runs the wave.
    for stage in (model.layer2, model.layer3):
        stage.append(WaveBlock())


def _unfit_change(name: str, change: str, allowed: str) -> BadInput:
    return BadInput(
        seen=f"backbone {name!r} with {change}",
        allowed=f"{change} for {allowed}",
        remedy="choose such a backbone, or leave the change out of the recipe",
    )


def _is_resnet(model: nn.Module) -> bool:
    from timm.models.resnet import ResNet

    return isinstance(model, ResNet)


def _load(model: Any, path: Path, *, cut: tuple[str, ...]) -> None:
    table = member_keys(read_weights(path))
    weights = {k.removeprefix("backbone."): v for k, v in table.items() if k.startswith("backbone.")}
    heads = model.pretrained_cfg.get("classifier") or ()
    unused = ((heads,) if isinstance(heads, str) else tuple(heads)) + cut
    weights = {k: v for k, v in weights.items() if not k.startswith(tuple(f"{part}." for part in unused))}
    expected = model.state_dict()
    other = [k for k, v in weights.items() if k in expected and v.shape != expected[k].shape]
    if other:
        raise _unfit_file(path, f"another shape of {', '.join(other[:3])} ({len(other)} in all)")
    result = model.load_state_dict(weights, strict=False)
    if result.missing_keys or result.unexpected_keys:
        raise _unfit_file(path, f"missing {result.missing_keys[:3]}, unexpected {result.unexpected_keys[:3]}")


def _unused_parts(settings: config.Backbone) -> tuple[str, ...]:
    """Return the parts that weight files may hold and the model no longer has."""
    return {"head": (), "stages": HEAD_CONVOLUTION, "last_stage": (LAST_STAGE,)}[settings.cut]


def _unfit_file(path: Path, fault: str) -> BadInput:
    return BadInput(
        seen=f"{path}: {fault}",
        allowed="exactly the weights of the recipe's backbone (a classifier may be there)",
        remedy="use the weight file of that model, or correct backbone.name and its changes",
    )
