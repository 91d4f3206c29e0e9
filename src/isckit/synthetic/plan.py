"""The edits of a mini set's queries: which kinds each phase has, how strong they are, and in what order they are done.

The kinds are those that the organisers name for DISC21 (Douze et al. 2021): crops, turns, colour, quality, covering,
and joins with other pictures. Phase 2 is harder, and has ops that phase 1 has not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isckit.augment.steps import NEEDS, OPS
from isckit.data.ground_truth import PHASE_QUERIES
from isckit.runs.workspace import PHASES, query_set
from isckit.types import BadInput

Kinds = Mapping[str, Mapping[str, Mapping[str, Any]]]

CROP, JOIN = "crop", "join"
"""Kinds with a fixed place: a crop comes first and another picture last, so that no crop cuts away what is copied."""

_PHASE_1: Kinds = {
    CROP: {"crop": {"scale": (0.4, 0.9)}},
    "flip": {"hflip": {}, "vflip": {}},
    "turn": {"rotate": {"angle": (-25.0, 25.0)}, "rotate90": {}},
    "shape": {"aspect": {"ratio": (0.6, 1.7)}, "pad": {"share": (0.05, 0.25)}, "downscale": {"factor": (0.4, 0.8)}},
    "colour": {"colour_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.7, "hue": 0.1}, "grayscale": {}},
    "quality": {"blur": {"sigma": (0.005, 0.02)}, "pixelate": {"ratio": (0.25, 0.6)},
                "noise": {"deviation": (8.0, 30.0)}, "jpeg": {"quality": (8, 30)}},
    "cover": {"text": {}, "emoji": {"share": (0.2, 0.5)}, "stripes": {"opacity": (0.3, 0.8)}},
    JOIN: {"overlay": {"share": (0.3, 0.6)}, "underlay": {"share": (0.5, 0.85)}, "collage": {}},
}  # fmt: skip
_PHASE_2: Kinds = {
    CROP: {"crop": {"scale": (0.25, 0.7)}},
    "flip": {"hflip": {}, "vflip": {}},
    "turn": {"rotate": {"angle": (-60.0, 60.0)}, "rotate90": {}, "rotate_pad": {}, "perspective": {}},
    "shape": {"aspect": {"ratio": (0.45, 2.2)}, "pad": {"share": (0.1, 0.5)}, "downscale": {"factor": (0.25, 0.6)},
              "meme": {}, "screenshot": {}},
    "colour": {"colour_jitter": {"brightness": 0.6, "contrast": 0.6, "saturation": 1.0, "hue": 0.3}, "grayscale": {},
               "invert": {}, "shuffle_channels": {}, "solarize": {"threshold": (0.2, 0.6)},
               "posterize": {"bits": (2, 3)}},
    "quality": {"blur": {"sigma": (0.01, 0.035)}, "pixelate": {"ratio": (0.15, 0.4)},
                "noise": {"deviation": (20.0, 50.0)}, "jpeg": {"quality": (4, 15)},
                "motion_blur": {}, "edge_enhance": {}, "pixel_shuffle": {"share": (0.1, 0.3)}},
    "cover": {"text": {"lines": (2, 4)}, "emoji": {"share": (0.3, 0.7)}, "stripes": {},
              "erase": {"scale": (0.1, 0.33)}, "shapes": {}},
    JOIN: {"overlay": {"share": (0.4, 0.8)}, "underlay": {"share": (0.3, 0.7)}, "collage": {},
           "blend": {"opacity": (0.5, 0.75)}},
}  # fmt: skip

EDITS: Mapping[int, Kinds] = {1: _PHASE_1, 2: _PHASE_2}
"""Phase -> kind -> op -> its ranges."""
STEPS: Mapping[int, tuple[int, int]] = {1: (1, 3), 2: (2, 4)}
"""Phase -> fewest and most edits before a join."""
JOINED: Mapping[int, float] = {1: 0.25, 2: 0.35}
"""Phase -> share of queries that are joined with another picture."""


def draw_edits(rng: np.random.Generator, phase: int) -> tuple[str, ...]:
    """Return the names of the ops of one query: of each kind one at most, in random order but for a crop and a join."""
    kinds = EDITS[phase]
    steps = int(rng.integers(*STEPS[phase], endpoint=True))
    chosen = rng.permutation([kind for kind in kinds if kind != JOIN])[:steps].tolist()
    chosen.sort(key=lambda kind: kind != CROP)
    if rng.random() < JOINED[phase]:
        chosen.append(JOIN)
    return tuple(str(rng.choice(list(kinds[kind]))) for kind in chosen)


def edit(
    image: np.ndarray, ops: tuple[str, ...], rng: np.random.Generator, *, phase: int, other: Callable[[], np.ndarray]
) -> np.ndarray:
    """Do these ops of a phase one after the other.

    Args:
        image: (H, W, 3) uint8.
        ops: names from EDITS[phase].
        rng: draws how strong each edit is.
        phase: 1 or 2.
        other: gives the picture to join with, (H, W, 3) uint8.

    Returns:
        (H', W', 3) uint8.
    """
    ranges = {op: values for kind in EDITS[phase].values() for op, values in kind.items()}
    for op in ops:
        extra = {"other": other()} if "other" in NEEDS[op] else {}
        image = OPS[op](image, rng, **ranges[op], **extra)
    return image


_NOTHING = (600, 300, 100)
_SIDES = (32, 4096)


@dataclass(frozen=True)
class Plan:
    """All that decides the bytes of a set. `queries` is the number in each phase, `photos` the photos' digest."""

    train: int
    references: int
    queries: int
    seed: int
    positives: float
    size: int
    photos: str
    version: int = 1

    @property
    def copies(self) -> int:
        """Return how many queries of a phase are copies of a reference."""
        return max(round(self.positives * self.queries), int(self.positives > 0))

    @property
    def props(self) -> int:
        """Return how many pictures edits lay over or under others."""
        return 2 + self.queries // 5

    @property
    def pictures(self) -> int:
        """Return how many pictures the set is made of: the props are the last of them."""
        return self.train + self.references + len(PHASES) * (self.queries - self.copies) + self.props


@dataclass(frozen=True)
class Task:
    """One image file: where it goes, the number of its picture, the edits done to it, the reference it is a copy of."""

    path: str
    picture: int
    phase: int = 0
    edits: tuple[str, ...] = ()
    reference: str = ""

    @property
    def image_id(self) -> str:
        """Return the file name without ending."""
        return Path(self.path).stem


def automatic(pictures: int, *, positives: float) -> tuple[int, int, int]:
    """Train, references and queries per phase for n pictures: about 6 to 3 to 1, train takes what is left."""
    per_query = 6 + 3 + len(PHASES) * (1 - positives) + 0.2
    queries = max(1, int((pictures - 2) / per_query))
    rest = Plan(0, 3 * queries, queries, 0, positives, 0, "").pictures
    return max(0, pictures - rest), 3 * queries, queries


def make_plan(
    available: int | None,
    *,
    train: int,
    references: int,
    queries: int,
    seed: int,
    positives: float,
    size: int,
    photos: str,
) -> Plan:
    """Return the plan for the wanted numbers; 0 takes the automatic one.

    Args:
        available: photos at hand, None if pictures are drawn from nothing.
        train, references, queries, seed, positives, size, photos: see Plan.

    Raises:
        BadInput: an option out of range, fewer references than copies, fewer photos than pictures.
    """
    _check_ranges(train=train, references=references, queries=queries, seed=seed, positives=positives, size=size)
    wanted = _NOTHING if available is None else automatic(available, positives=positives)
    plan = Plan(train or wanted[0], references or wanted[1], queries or wanted[2], seed, positives, size, photos)
    if len(PHASES) * plan.copies > plan.references:
        raise BadInput(
            seen=f"{plan.references} references for {len(PHASES)} x {plan.copies} copies",
            allowed="one reference for each copy, none used twice",
            remedy=f"pass --references {len(PHASES) * plan.copies} or more, or fewer --queries",
        )
    if available is not None and (plan.pictures > available or not plan.train):
        raise _too_few(plan, available)
    return plan


def draw_tasks(plan: Plan) -> list[Task]:
    """Return every image file of the plan: train, references, queries of phase 1, queries of phase 2."""
    rng = np.random.default_rng([plan.seed, 0])
    order = iter(rng.permutation(plan.pictures - plan.props).tolist())
    train = [Task(f"images/train/T{i:06}.jpg", next(order)) for i in range(plan.train)]
    references = [Task(f"images/references/R{i:06}.jpg", next(order)) for i in range(plan.references)]
    originals = iter([references[i] for i in rng.permutation(plan.references)])
    queries = []
    for phase in PHASES:
        rng = np.random.default_rng([plan.seed, phase])
        for i, is_copy in enumerate(_copy_flags(rng, plan)):
            path = f"images/{query_set(phase)}/Q{(phase - 1) * PHASE_QUERIES + i:05}.jpg"
            original = next(originals) if is_copy else None
            number, reference = (original.picture, original.image_id) if original else (next(order), "")
            queries.append(Task(path, number, phase, draw_edits(rng, phase), reference))
    return train + references + queries


def _copy_flags(rng: np.random.Generator, plan: Plan) -> list[bool]:
    """Return which queries are copies: in random order, every second copy in the public half of the queries."""
    half = plan.queries // 2
    public = min(half, (plan.copies + 1) // 2)
    halves = np.arange(half) < public, np.arange(plan.queries - half) < plan.copies - public
    return np.concatenate([rng.permutation(flags) for flags in halves]).tolist()


def _check_ranges(*, positives: float, size: int, seed: int, **counts: int) -> None:
    limits = {"train": 1_000_000, "references": 1_000_000, "queries": PHASE_QUERIES}
    for name, count in counts.items():
        if not 0 <= count <= limits[name]:
            raise BadInput(
                seen=f"--{name} {count}", allowed=f"0 (automatic) to {limits[name]:,}", remedy=f"pass another --{name}"
            )
    if not 0 <= positives <= 1 or not _SIDES[0] <= size <= _SIDES[1] or seed < 0:
        raise BadInput(
            seen=f"positives {positives}, size {size}, seed {seed}",
            allowed=f"positives 0 to 1, size {_SIDES[0]} to {_SIDES[1]}, seed 0 or more",
            remedy="pass values in these ranges",
        )


def _too_few(plan: Plan, available: int) -> BadInput:
    least = next(n for n in range(1, 100) if n >= Plan(1, 3, 1, 0, plan.positives, 0, "").pictures)
    train, references, queries = automatic(available, positives=plan.positives)
    fits = f"the automatic split of {available} is --train {train} --references {references} --queries {queries}"
    return BadInput(
        seen=f"{available} different photos, {max(plan.pictures, available + 1)} needed: {plan.train or 1} train, "
        f"{plan.references} references, 2 x {plan.queries - plan.copies} distractors, {plan.props} props",
        allowed=f"{least} photos or more, each used once; without numbers they are split about 6 : 3 : 1",
        remedy=f"pass no numbers ({fits})" if train else "add photos to the folder",
    )
