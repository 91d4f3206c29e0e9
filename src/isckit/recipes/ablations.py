"""The rows of each system's own ablation, with the scores its authors published."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One row: what differs from the whole recipe.

    Attributes:
        label: as the row is known by.
        settings: overrides `a.b=value` of the whole recipe; none of them may touch training.
        stages: weights after so many stages of every trained member; 0 before training, None after all.
        published: score and set it was measured on, with the source's tag; "" where none is known.
    """

    label: str
    settings: tuple[str, ...] = ()
    stages: int | None = None
    published: str = ""
