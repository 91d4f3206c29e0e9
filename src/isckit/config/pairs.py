"""Networks that look at a reference and a query in one picture (separate, Jeon 2021)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from isckit.config.base import STRICT, Count, NotNegativeInt, Positive, Share
from isckit.config.members import Backbone
from isckit.config.training import Optim


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PairStage:
    """One stage: groups of look-alike train images, every reference with every query of the group a pair.

    Attributes:
        groups: steps, a group each, in the order of the anchors, from the first one again behind the last.
        log_groups: groups that the schedule of `optim` and the training log count as an epoch.
        group: images of a group.
        start: number of the first anchor.
        view, plain: pipelines of the queries and of the references; all images of a group get the same draws.
        grey: probability that a half is grey.
        duplicate: pairs whose descriptors have a cosine above it are left out, as they may be copies of each other.
        micro_batch: pairs that go through the network at a time (0: all).
    """

    name: str = "main"
    groups: Count = 1_000
    log_groups: Count = 500
    group: Annotated[int, Field(gt=1)] = 24
    start: NotNegativeInt = 0
    view: str = "separate.final"
    plain: str = "separate.basic"
    grey: Share = 0.0
    duplicate: Positive = 1.0
    micro_batch: NotNegativeInt = 0
    amp: bool = True
    optim: Optim = Optim(name="adam", lr=1e-5, weight_decay=1e-6, warmup_epochs=0.0, schedule="constant")

    @property
    def epochs(self) -> int:
        """Lines of the training log, the last of which may hold fewer groups."""
        return -(-self.groups // self.log_groups)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PairNetwork:
    """Reference | query side by side in one square picture -> backbone -> one logit (separate, Jeon 2021).

    Attributes:
        image_size: rows of each half, which has half as many columns.
        canvas: side of the square that views are cut from.
        tokens: where not 0, the backbone sees each image by itself, as a square, and its tokens, of so many values, are
            compared by attention (what a network from random weights can learn).
        grey: both halves, in training and at test.
        neighbours: the member whose train embeddings find the look-alikes.
        weights_of: the member whose backbone's weights this one begins with; "" for those that `backbone` says.
    """

    kind: Literal["pair_network"] = "pair_network"
    name: str = "pairs"
    backbone: Backbone = Backbone(name="vit_large_patch16_224", normalisation="imagenet")
    image_size: Annotated[int, Field(gt=0, multiple_of=2)] = 224
    canvas: Count = 448
    tokens: NotNegativeInt = 0
    grey: bool = False
    neighbours: str = "network"
    weights_of: str = ""
    stages: tuple[PairStage, ...] = (PairStage(),)

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        if not names or len(set(names)) < len(names) or any("." in name or "/" in name for name in names):
            raise ValueError(f"a pair network needs stages with distinct names without '.' and '/', got {names}")
