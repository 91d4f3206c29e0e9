"""What a stage of training minimises: one class a loss, chosen by `kind`. Numbers belong to the global batch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from isckit.vocabulary.base import STRICT, Count, NotNegative, Positive, Share


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Contrastive:
    """Margins on L2 distances to a cross-batch memory, mean over active pairs (XBM, Wang et al. 2020; lyakaap)."""

    kind: Literal["contrastive"] = "contrastive"
    positive_margin: NotNegative = 0.0
    negative_margin: NotNegative = 1.0
    memory: Count = 20_000


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InfoNce:
    """Softmax of the positives over a cross-batch memory; what `baseline` trains its small network with."""

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

    `start`: class weights at random, or the mean of a clean and `centroid_views` edited embeddings (drip training).
    """

    kind: Literal["arcface"] = "arcface"
    scale: Positive = 40.0
    margin: NotNegative = 0.4
    start: Literal["random", "centroids"] = "random"
    centroid_views: Count = 4


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TwoHeads:
    """Cross-entropy on the wide and the narrow head, soft cross-entropy between them, batch-hard soft-margin triplet.

    visionForce (Wang et al. 2021). `smoothing` of labels; logits are divided by `logit_temperature`.
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

    The teacher's momentum rises to 1 by a cosine over the stage. The teacher is what the stage leaves.
    """

    kind: Literal["momentum_teacher"] = "momentum_teacher"
    momentum: Share = 0.99
    hidden: Count = 4096
    width: Count = 256


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Compatibility:
    """Features of a frozen anchor member as targets, self-distillation and restoration (after titanshield2).

    The first view is weak, the others hard. `anchor` names a member of the recipe that stands before this one.
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

    improved: plus max(0, d(a,p) - d(p,n) + margin / 2). Of the batch's random triplets `triplets` count, half of them
    semi-hard (the negative is farther than the positive, but not by the margin) or hard (it is nearer).
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
