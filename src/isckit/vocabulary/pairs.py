"""Networks that look at a reference and a query in one picture (separate, Jeon 2021)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from isckit.vocabulary.base import STRICT, Count, NotNegativeInt, Share
from isckit.vocabulary.members import Backbone
from isckit.vocabulary.training import Optim


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PairStage:
    """One stage: groups of `group` look-alike train images, every reference with every query of the group a pair.

    `groups` a epoch from the `start`-th anchor on. `view` names the pipeline of the queries; all images of a group are
    edited with the same draws. `grey` is the share of grey halves. Pairs whose descriptors are nearer than `duplicate`
    are left out, as they may be copies of each other.
    """

    name: str = "main"
    groups: Count = 1_000
    group: Annotated[int, Field(gt=1)] = 24
    start: NotNegativeInt = 0
    view: str = "weak"
    grey: Share = 0.0
    duplicate: Share = 1.0
    micro_batch: NotNegativeInt = 0
    optim: Optim = Optim(name="adam", lr=1e-5, weight_decay=1e-6, warmup_epochs=0.0, schedule="constant")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PairNetwork:
    """Reference | query side by side in one square picture -> backbone -> one logit.

    Each half is `image_size` rows by half as many columns. grey: both halves, in training and at test.
    neighbours: the member whose train embeddings find the look-alikes.
    """

    kind: Literal["pair_network"] = "pair_network"
    name: str = "pairs"
    backbone: Backbone = Backbone(name="vit_large_patch16_224")
    image_size: Count = 224
    grey: bool = False
    neighbours: str = "network"
    stages: tuple[PairStage, ...] = (PairStage(),)
