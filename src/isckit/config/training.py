"""Training of a network: losses, one class each chosen by `kind`, images, optimiser, stages.

Numbers belong to the global batch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from isckit.config.base import STRICT, Count, NotNegative, NotNegativeInt, Positive, Share


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Contrastive:
    """Margins on L2 distances to a cross-batch memory, mean over active pairs (XBM, Wang et al. 2020; lyakaap)."""

    kind: Literal["contrastive"] = "contrastive"
    positive_margin: NotNegative = 0.0
    negative_margin: NotNegative = 1.0
    memory: Count = 20_000


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InfoNce:
    """Softmax of the positives over a cross-batch memory; `baseline` trains its small network with it."""

    kind: Literal["infonce"] = "infonce"
    temperature: Positive = 0.05
    memory: Count = 20_000


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NtXent:
    """Softmax over the global batch plus KoLeo, the entropy of nearest distances (SSCD, Pizzi et al. 2022)."""

    kind: Literal["ntxent"] = "ntxent"
    temperature: Positive = 0.05
    koleo: NotNegative = 30.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ArcFace:
    """Each train image a class, additive angular margin (Deng et al. 2019; S-square).

    Attributes:
        start: class weights at random, or the mean of a clean and `centroid_views` edited embeddings (drip training).
    """

    kind: Literal["arcface"] = "arcface"
    scale: Positive = 40.0
    margin: NotNegative = 0.4
    start: Literal["random", "centroids"] = "random"
    centroid_views: Count = 4


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TwoHeads:
    """Cross-entropy on the wide and the narrow head, soft cross-entropy between them, batch-hard soft-margin triplet.

    visionForce (Wang et al. 2021).

    Attributes:
        cross_entropy, triplet, soft: weights of the terms.
        smoothing: of labels.
        logit_temperature: divides the logits.
    """

    kind: Literal["two_heads"] = "two_heads"
    cross_entropy: NotNegative = 10.0
    triplet: NotNegative = 1.0
    soft: NotNegative = 1.0
    smoothing: Share = 0.1
    logit_temperature: Positive = 1.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BarlowTwins:
    """Cross-correlation of two views towards the identity (Zbontar et al. 2021): pre-training."""

    kind: Literal["barlow_twins"] = "barlow_twins"
    off_diagonal: Positive = 0.0051
    width: Count = 8192


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MomentumTeacher:
    """BYOL with momentum statistics in the teacher (Momentum^2 Teacher, Li et al. 2021): pre-training.

    Attributes:
        momentum: the teacher's at first; it rises to 1 by a cosine over the stage.
        statistics: of the teacher's batch norms; "batch": BYOL itself (Grill et al. 2020), of which the student is what
            the stage leaves, else the teacher is.
    """

    kind: Literal["momentum_teacher"] = "momentum_teacher"
    momentum: Share = 0.99
    hidden: Count = 4096
    width: Count = 256
    statistics: Literal["momentum", "batch"] = "momentum"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Compatibility:
    """Features of a frozen anchor member as targets, self-distillation and restoration (after titanshield2).

    The first view is weak, the others hard.

    Attributes:
        anchor: a member of the recipe that stands before this one.
        distillation, restoration: weights of these parts; 0 leaves one out.
    """

    kind: Literal["compatibility"] = "compatibility"
    anchor: str = "anchor"
    temperature: Positive = 0.05
    memory: Count = 20_000
    distillation: NotNegative = 0.5
    restoration: NotNegative = 0.1
    prototypes: Count = 4096
    student_temperature: Positive = 0.1
    teacher_temperature: Positive = 0.04
    teacher_momentum: Share = 0.996
    centre_momentum: Share = 0.9
    restored_size: Count = 64


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Triplet:
    """Margin on squared L2 distances: max(0, d(a,p) - d(a,n) + margin) (Parajuli 2021).

    Attributes:
        improved: plus max(0, d(a,p) - d(p,n) + margin / 2).
        mining: half of those that count are semi-hard (the negative is farther than the positive, but not by the
            margin) or hard (it is nearer).
        triplets: of the batch's random ones, so many count.
    """

    kind: Literal["triplet"] = "triplet"
    margin: Positive = 0.2
    improved: bool = True
    mining: Literal["random", "semi_hard", "hard"] = "semi_hard"
    triplets: Count = 32


Loss = Annotated[
    Contrastive | InfoNce | NtXent | ArcFace | TwoHeads | BarlowTwins | MomentumTeacher | Compatibility | Triplet,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Data:
    """The images of a stage.

    Attributes:
        anchors: train images, each in several edited views; or public true pairs, query and reference as they are.
        every: of the train images in order of their ids each `every`-th.
        ids: of these the first so many (0: all).
        faces: beside these, all train images that show a face (D2LV's face sets).
        partners: images that overlays are taken from; "others" are the train images that are no anchors.
        negatives: further images as they are. mined: when the stage begins, an edited copy of each train image searches
            for it; where another is nearer, that one is its negative, and these images alone are the anchors, with
            those of all earlier mined stages (Parajuli's offline mining).
        negatives_per_anchor: number of these beside each anchor.
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
            raise ValueError("faces are those of train images, but the anchors are public pairs")
        if self.negatives == "mined" and (self.anchors, self.negatives_per_anchor) != ("train", 1):
            raise ValueError("mined negatives are of train images, one an anchor")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Mix:
    """Mixup and CutMix within the batch, half each, weight from Beta(beta, beta) (SSCD, Pizzi et al. 2022)."""

    probability: Share = 0.05
    beta: Positive = 2.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Optim:
    """Optimiser and schedule.

    Attributes:
        lr: belongs to the global batch.
        warmup_epochs, warmup_start: epochs in which the rate rises from `warmup_start` * lr.
        hold_epochs: epochs at lr that follow.
        schedule: of the epochs after these.
        final: the schedule ends at `final` * lr.
        per: the learning rate changes every step, or once an epoch.
        plateau_factor, plateau_patience: plateau multiplies the rate by the one whenever the mean loss of an epoch was
            not below the best for more epochs than the other.
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
    """One stage of training.

    Attributes:
        epochs: over which the schedule runs.
        stop_after: epochs of them that are done (0: all).
        images_per_epoch: anchors drawn (0: each once).
        batch_images: anchors a step.
        image_size: 0 is the network's.
        views: pipelines, one for each view of an anchor.
        on_device: names edits done on the device, in batches, after the loader's.
        ema: decay of the moving average that is kept (0: none).
        micro_batch: images that go through the network at a time (0: the whole batch); the loss sees them all.
        ghost_batch: images that share batch statistics (0: the global batch).
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
