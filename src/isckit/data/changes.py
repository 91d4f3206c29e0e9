"""Which images of a set changed since they were digested, and which files two sets have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isckit.data.containers import some
from isckit.data.digests import ImageDigests


@dataclass(frozen=True)
class Changes:
    """Ids of the images that are not what they were; true where there is any.

    Attributes:
        changed: with other bytes, the swapped ones among them.
        missing, added: only there before, only there now.
        swapped: pairs of ids that have exchanged their bytes.
    """

    changed: tuple[str, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]
    swapped: tuple[tuple[str, str], ...]

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.added)

    def __str__(self) -> str:
        swapped = [f"{first} <-> {second}" for first, second in self.swapped]
        kinds = {"changed": self.changed, "missing": self.missing, "added": self.added, "swapped": swapped}
        return "; ".join(f"{len(found)} {kind}: {some(found)}" for kind, found in kinds.items() if found) or "none"


def changed(before: ImageDigests, now: ImageDigests) -> Changes:
    """Which images of a set are not what they were."""
    common, old, new = np.intersect1d(before.ids, now.ids, assume_unique=True, return_indices=True)
    differ = (before.digests[old] != now.digests[new]).any(axis=1)
    ids, was, became = common[differ], before.digests[old[differ]], now.digests[new[differ]]
    first, second = _equal_rows(np.hstack([was, became]), np.hstack([became, was]))
    once = first < second
    return Changes(
        changed=tuple(ids.tolist()),
        missing=tuple(np.setdiff1d(before.ids, now.ids, assume_unique=True).tolist()),
        added=tuple(np.setdiff1d(now.ids, before.ids, assume_unique=True).tolist()),
        swapped=tuple(zip(ids[first[once]].tolist(), ids[second[once]].tolist(), strict=True)),
    )


def same_bytes(first: ImageDigests, second: ImageDigests) -> list[tuple[str, str]]:
    """All pairs (id of the first set, id of the second) of byte-identical files, by the ids of the first."""
    left, right = _equal_rows(first.digests, second.digests)
    return list(zip(first.ids[left].tolist(), second.ids[right].tolist(), strict=True))


def _equal_rows(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of all pairs of equal rows of two uint8 matrices of digests, by the first's, then the second's number."""
    # Eight bytes of a sha256 hardly ever agree by chance: they find the candidates, all bytes decide.
    keys, others = (np.ascontiguousarray(rows[:, :8]).view("<u8").ravel() for rows in (first, second))
    order = np.argsort(others, kind="stable")
    others = others[order]
    starts = np.searchsorted(others, keys, "left")
    counts = np.searchsorted(others, keys, "right") - starts
    left = np.repeat(np.arange(len(keys)), counts)
    within = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
    right = order[np.repeat(starts, counts) + within]
    equal = (first[left] == second[right]).all(axis=1)
    return left[equal], right[equal]
