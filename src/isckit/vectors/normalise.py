"""Descriptor normalisation against train: each vector by itself, never with other queries or references.

All steps make distances of different queries comparable, which a global list rewards. They take unit vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from isckit import config
from isckit.types import Embeddings, Role
from isckit.vectors.checks import refuse_unless_fittable
from isckit.vectors.offset import offset, without_offset
from isckit.vectors.push import push
from isckit.vectors.stretch import stretch
from isckit.vectors.subtract import averaged, subtract, subtract_from_bank

Map = Callable[[np.ndarray], np.ndarray]
"""(n, d) float32 to (n, d') float32, row by row: a row's result is the same, to the last bit, in any company."""


@dataclass(frozen=True)
class Normaliser:
    """Steps that were fitted on train.

    Attributes:
        queries: maps of queries, in order.
        references: maps of references, and of train images in their place.
    """

    queries: tuple[Map, ...]
    references: tuple[Map, ...]


def fit_normaliser(bank: Embeddings, steps: Sequence[config.Step]) -> Normaliser:
    """Fit the steps of a recipe on train vectors.

    A step meets the bank as the steps before it left references. Stretching after subtraction compares a query with
    train images as if they were references, and references have been subtracted: similarities to raw train vectors
    would not be on the scale of those to references. Steps that change queries alone leave the bank.

    Costs a search of the bank in itself for each averaging, and one an iteration of a subtraction that is followed by
    another step.

    Raises:
        RuleViolation: the bank is not train or external.
        BadInput: neighbours outside the bank, vectors that vanish.
    """
    refuse_unless_fittable(bank.role, what="a normalisation")
    queries: list[Map] = []
    references: list[Map] = []
    for place, step in enumerate(steps, start=1):
        match step:
            case config.Subtract():
                negatives = averaged(bank, k=step.dba, power=step.dba_power) if step.dba else bank
                k, beta, iterations = step.k, step.beta, step.iterations
                queries.append(partial(subtract, negatives=negatives, k=k, beta=beta, iterations=iterations))
                if step.sides == "both":
                    references.append(queries[-1])
                    if place < len(steps):
                        bank = subtract_from_bank(bank, negatives, k=k, beta=beta, iterations=iterations)
            case config.Stretch():
                queries.append(partial(stretch, bank=bank, n=step.n, alpha=step.alpha))
            case config.Push():
                queries.append(partial(push, bank=bank, amount=step.amount, k=step.k, n=step.n, by=step.by))
            case config.Offset():
                queries.append(partial(offset, bank=bank, beta=step.beta, n=step.n, floor=step.floor))
                references.append(without_offset)
    return Normaliser(tuple(queries), tuple(references))


def normalise(embeddings: Embeddings, normaliser: Normaliser) -> Embeddings:
    """The vectors of one image set, as its role has it.

    Raises:
        BadInput: neighbours outside the bank, dimensions differ, vectors that vanish.
    """
    vectors = embeddings.vectors
    for step in normaliser.queries if embeddings.role is Role.QUERY else normaliser.references:
        vectors = step(vectors)
    return embeddings.with_vectors(vectors)
