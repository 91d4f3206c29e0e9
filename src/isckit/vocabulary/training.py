"""How a network is trained: stages, one after the other, each with its images, views, loss and optimiser.

Numbers (batch, memory, images per epoch) belong to the global batch; the engine divides them over the devices.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from isckit.vocabulary.base import STRICT, Count, NotNegative, NotNegativeInt, Positive, Share
from isckit.vocabulary.losses import InfoNce, Loss


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Data:
    """The images of a stage.

    anchors: train images, each in several edited views; or public true pairs, query and reference as they are.
    every, ids: of the train images in order of their ids each `every`-th, and of these the first `ids` (0: all).
    faces: beside these, all train images that show a face (D2LV's face sets).
    partners: what overlays are taken from; "others" are the train images that are no anchors.
    negatives: further images as they are, `negatives_per_anchor` beside each anchor. mined: when the stage begins, an
    edited copy of each train image looks for it; where another is nearer, that one is its negative, and these images
    alone are the anchors, with those of all earlier mined stages (Parajuli's offline mining).
    """

    anchors: Literal["train", "pairs"] = "train"
    every: Count = 1
    ids: NotNegativeInt = 0
    faces: bool = False
    partners: Literal["any", "others"] = "any"
    negatives: Literal["none", "train", "references", "mined"] = "none"
    negatives_per_anchor: NotNegativeInt = 0

    def __post_init__(self) -> None:
        if (self.negatives == "none") != (self.negatives_per_anchor == 0):
            raise ValueError("negatives and negatives_per_anchor go together")
        if self.faces and self.anchors == "pairs":
            raise ValueError("faces are looked for in train images, and public pairs are the anchors")
        if self.negatives == "mined" and (self.anchors, self.negatives_per_anchor) != ("train", 1):
            raise ValueError("mined negatives are of train images, one an anchor")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Mix:
    """Mixup and CutMix within the batch, half each, weight from Beta(beta, beta) (SSCD, Pizzi et al. 2022)."""

    probability: Share = 0.05
    beta: Positive = 2.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Optim:
    """Optimiser and schedule; `lr` belongs to the global batch.

    warmup_epochs from `warmup_start` * lr, then hold_epochs at lr, then the schedule down to `final` * lr.
    per: the learning rate changes every step, or once an epoch. plateau: times `plateau_factor` whenever the mean loss
    of an epoch was not below the best for more than `plateau_patience` epochs.
    """

    name: Literal["adamw", "adam", "sgd", "lars"] = "adamw"
    lr: Positive = 1e-3
    weight_decay: NotNegative = 0.05
    momentum: NotNegative = 0.9
    trust: Positive = 0.001
    warmup_epochs: NotNegative = 1.0
    warmup_start: NotNegative = 0.0
    hold_epochs: NotNegative = 0.0
    schedule: Literal["cosine", "linear", "constant", "plateau"] = "cosine"
    final: NotNegative = 0.0
    per: Literal["step", "epoch"] = "step"
    plateau_factor: Share = 0.9
    plateau_patience: NotNegativeInt = 2
    clip: NotNegative = 0.0

    def __post_init__(self) -> None:
        if self.per == "epoch" and self.warmup_epochs and not self.warmup_start:
            raise ValueError("a warm-up per epoch needs warmup_start above 0: nothing is learnt at a rate of 0")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Stage:
    """One stage of training. The schedule runs over `epochs`; `stop_after` of them are done (0: all).

    An epoch draws `images_per_epoch` anchors (0: each once), `batch_images` of them a step. Each anchor comes in as
    many views as `views` names pipelines. `on_device` names edits done on the device, in batches, after the loader's.
    `image_size` 0 is the network's. `micro_batch` images at a time go through the network (0: the whole batch), the
    loss sees them all. `ghost_batch` images share batch statistics (0: the global batch). `ema` 0: none.
    """

    name: str = "main"
    epochs: Count = 10
    stop_after: NotNegativeInt = 0
    images_per_epoch: NotNegativeInt = 0
    batch_images: Annotated[int, Field(gt=1)] = 128
    image_size: NotNegativeInt = 0
    data: Data = Data()
    views: tuple[str, ...] = ("weak", "mild")
    on_device: str = ""
    mix: Mix | None = None
    loss: Loss = InfoNce()
    optim: Optim = Optim()
    amp: bool = True
    ema: Share = 0.0
    micro_batch: NotNegativeInt = 0
    ghost_batch: NotNegativeInt = 0
    checkpointing: bool = False
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.stop_after > self.epochs:
            raise ValueError("stop_after must not be larger than epochs")
        if self.data.anchors == "train" and not self.views:
            raise ValueError("train images need at least one view")
        kind = self.loss.kind
        if self.mix is not None and kind != "ntxent":
            raise ValueError(f"mixed images are for ntxent alone; {kind} would take them for whole ones")
        if kind in ("arcface", "two_heads") and self.data.negatives != "none":
            raise ValueError(f"{kind} tells classes apart: negatives are of no class")
        if kind == "triplet" and self.data.anchors == "train" and len(self.views) < 2:
            raise ValueError("triplet takes two views of an image for its anchor and positive")
        if kind in ("barlow_twins", "momentum_teacher"):
            if len(self.views) != 2 or self.data.anchors != "train" or self.data.negatives != "none":
                raise ValueError(f"{kind} compares two views of train images, without negatives")
            if self.ema and kind == "momentum_teacher":
                raise ValueError("momentum_teacher leaves its teacher: no other moving average beside it")
