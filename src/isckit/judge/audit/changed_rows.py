"""Which rows of an artifact are not those that the fingerprints tell of, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from isckit.data.ground_truth import id_codes
from isckit.judge.audit.fingerprints import Rows
from isckit.submission import MatchLines
from isckit.types import Matches

MOST = 5
"""Rows of one kind of change that are named; the others are counted."""


def changed_vectors(before: Rows, now: Rows, *, side: str = "") -> list[str]:
    """Which vectors changed, changed places, came or went; the number of the float, if only one did.

    Args:
        before, now: fingerprints, ids in any order.
        side: what to call the vectors, e.g. "bank ".
    """
    if before.dim != now.dim:
        return [f"{side}vectors of {now.dim} floats, {before.dim} recorded"]
    ids, first, times = np.unique(now.ids, return_index=True, return_counts=True)
    words = _few([f"{side}vector of {name} is there {n} times" for name, n in _repeated(ids, times)])
    common, old, new = np.intersect1d(before.ids, ids, return_indices=True)
    was, became = before.hashes[old], now.hashes[first][new]
    differ = (was != became).any(axis=1)
    ids_of_changed, was, became = common[differ], was[differ], became[differ]
    pairs, explained = swaps(ids_of_changed, was, became)
    words += _few([f"{side}vectors of {a} and {b} are swapped" for a, b in pairs])
    left = np.flatnonzero(~explained)
    words += _few(
        [
            f"{side}vector of {ids_of_changed[row]} changed ({_place(was[row], became[row], before.dim)})"
            for row in left[:MOST]
        ],
        count=len(left),
    )
    words += _few([f"{side}vector of {name} is gone" for name in np.setdiff1d(before.ids, ids)])
    return words + _few([f"{side}vector of {name} is new" for name in np.setdiff1d(ids, before.ids)])


def _repeated(ids: np.ndarray, times: np.ndarray) -> Iterator[tuple[str, int]]:
    return zip(ids[times > 1].tolist(), times[times > 1].tolist(), strict=True)


def _place(was: np.ndarray, became: np.ndarray, dim: int) -> str:
    """Which float changed, from the hashes alone: the second sum moved k + 1 times as far as the first."""
    first, second = became - was
    fits = np.flatnonzero(np.arange(1, dim + 1, dtype=np.uint64) * first == second)
    return f"float {fits[0]}" if len(fits) == 1 else "several floats"


def swaps(ids: np.ndarray, was: np.ndarray, became: np.ndarray) -> tuple[list[tuple[str, str]], np.ndarray]:
    """Pairs of ids that exchanged what they stand for, and a mask of the ids in such pairs.

    Args:
        ids: (n,) text.
        was, became: (n, k) hashes; no row of one equals its row of the other.
    """
    waiting: dict[tuple[bytes, bytes], list[int]] = {}
    pairs, explained = [], np.zeros(len(ids), bool)
    for row, (old, new) in enumerate(zip(map(bytes, was), map(bytes, became), strict=True)):
        if partners := waiting.get((new, old)):
            pairs.append((str(ids[partner := partners.pop()]), str(ids[row])))
            explained[[partner, row]] = True
        else:
            waiting.setdefault((old, new), []).append(row)
    return pairs, explained


@dataclass(frozen=True)
class _Table:
    """Scored pairs: ids as text and as codes, of queries and of references."""

    ids: tuple[np.ndarray, np.ndarray]
    codes: tuple[np.ndarray, np.ndarray]
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, mask: np.ndarray) -> _Table:
        ids, codes = ((columns[0][mask], columns[1][mask]) for columns in (self.ids, self.codes))
        return _Table(ids, codes, self.scores[mask])

    def pair(self, row: int) -> str:
        return f"{self.ids[0][row]},{self.ids[1][row]}"


def changed_pairs(before: Matches, now: MatchLines) -> list[str]:
    """Which rows of a matches file changed: broken lines, ids that changed places, scores, rows that came or went."""
    broken = sorted([*now.misshapen, *now.blank])
    words = _few([f"line {line} is no row" for line in broken])
    queries, references = (
        id_codes(letter, *columns)
        for letter, columns in (
            ("Q", (before.query_ids, now.query_ids)),
            ("R", (before.reference_ids, now.reference_ids)),
        )
    )
    old = _Table((before.query_ids, before.reference_ids), (queries[0], references[0]), before.scores)
    new = _Table((now.query_ids, now.reference_ids), (queries[1], references[1]), now.scores)
    for side in (0, 1):
        pairs, explained = _swapped(old, new, side)
        words += _few([f"ids {a} and {b} are swapped" for a, b in pairs])
        old, new = (table.take(~np.isin(table.codes[side], explained)) for table in (old, new))
    words += _changed_keys(old, new)
    return words


def _swapped(old: _Table, new: _Table, side: int) -> tuple[list[tuple[str, str]], np.ndarray]:
    """Ids of one side that exchanged all their rows: pairs of them, and their codes."""
    (names, was), (again, became) = _sums(old, side), _sums(new, side)
    common, i, j = np.intersect1d(names, again, assume_unique=True, return_indices=True)
    differ = was[i] != became[j]
    codes, firsts = np.unique(old.codes[side], return_index=True)
    ids = old.ids[side][firsts[np.searchsorted(codes, common[differ])]]
    pairs, explained = swaps(ids, was[i][differ, None], became[j][differ, None])
    return pairs, common[differ][explained]


def _sums(table: _Table, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes of the ids of one side, and for each a hash of its rows that does not depend on their order."""
    order = np.argsort(table.codes[side], kind="stable")
    rows = _mixed(_mixed(table.codes[1 - side].astype(np.uint64)) + table.scores.view(np.uint64))[order]
    codes, starts = np.unique(table.codes[side][order], return_index=True)
    return codes, np.add.reduceat(rows, starts) if len(rows) else rows


def _mixed(x: np.ndarray) -> np.ndarray:
    """Finaliser of splitmix64 (Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _changed_keys(old: _Table, new: _Table) -> list[str]:
    span = 1 + max(int(table.codes[1].max(initial=0)) for table in (old, new))
    before, after = (table.codes[0] * span + table.codes[1] for table in (old, new))
    keys, first, times = np.unique(after, return_index=True, return_counts=True)
    again = first[times > 1]
    words = _few([f"row {new.pair(row)} is there {n} times" for row, n in zip(again, times[times > 1], strict=True)])
    _, i, j = np.intersect1d(before, keys, return_indices=True)
    j = first[j]
    differ = np.flatnonzero(old.scores[i].view(np.uint64) != new.scores[j].view(np.uint64))
    told = [
        f"score of {old.pair(i[k])} changed: {old.scores[i[k]]} there, {new.scores[j[k]]} now" for k in differ[:MOST]
    ]
    words += _few(told, count=len(differ))
    gone, came = np.flatnonzero(~np.isin(before, keys)), np.sort(first[~np.isin(keys, before)])
    words += _few([f"row {old.pair(row)} is gone" for row in gone[:MOST]], count=len(gone))
    words += _few([f"row {new.pair(row)} is new" for row in came[:MOST]], count=len(came))
    return words if words or np.array_equal(before, after) else ["rows stand in another order"]


def _few(words: list[str], *, count: int | None = None) -> list[str]:
    """The first few, and how many more of the kind there are."""
    rest = (len(words) if count is None else count) - MOST
    return words[:MOST] + ([f"and {rest:,} more like the last"] if rest > 0 else [])
