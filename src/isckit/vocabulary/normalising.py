"""Steps that make descriptors comparable across queries, each against train vectors."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from isckit.vocabulary.base import STRICT, Count, NotNegative, NotNegativeInt, Positive


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Subtract:
    """Negative embedding subtraction (lyakaap): x <- unit(x - beta * mean of the k nearest train vectors).

    dba: the train vectors are first replaced by a weighted mean of so many neighbours, themselves included (0: not),
    each weighted by its similarity to the power `dba_power`.
    """

    kind: Literal["subtract"] = "subtract"
    iterations: Count = 1
    k: Count = 10
    beta: NotNegative = 0.35
    dba: NotNegativeInt = 0
    dba_power: Positive = 3.0
    sides: Literal["both", "queries"] = "both"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Stretch:
    """Descriptor stretching (visionForce), queries only: q <- alpha * mean of the n largest train similarities * q."""

    kind: Literal["stretch"] = "stretch"
    n: Count = 5
    alpha: Positive = 2.5


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Push:
    """Query normalisation (S-square), queries only: q <- q + amount * sqrt(mean_n) * away from its k train neighbours.

    by: each difference is divided by the root mean square of its coordinate over the neighbours, or by its own length.
    """

    kind: Literal["push"] = "push"
    amount: Positive = 1.8
    k: Count = 100
    n: Count = 3
    by: Literal["coordinate", "vector"] = "coordinate"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Offset:
    """Score normalisation as one more coordinate: q <- [q, sqrt(2 beta mean_n + floor)], r <- [r, 0]."""

    kind: Literal["offset"] = "offset"
    beta: Positive = 1.0
    n: Count = 3
    floor: NotNegative = 0.5


Step = Annotated[Subtract | Stretch | Push | Offset, Field(discriminator="kind")]
