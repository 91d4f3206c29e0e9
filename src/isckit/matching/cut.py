"""The pairs of views that go on: a global list, the neighbours of every view, or a score that was fitted on train."""

from __future__ import annotations

import hashlib

import numpy as np

from isckit import config
from isckit.matching.lists import Hits, search
from isckit.runs.steps import NOT_KEPT, Advance, Kept, shards
from isckit.types import BadInput, Embeddings
from isckit.vectors.above import Above, pairs_above
from isckit.vectors.neighbours import nearest
from isckit.vectors.products import Rows, Widened


def background(vectors: np.ndarray, bank: Embeddings, *, first: int, last: int) -> np.ndarray:
    """Mean similarity of each vector with its first..last nearest train vectors (ranks from 1): (n,) float64.

    The organisers' statistic is one rank (first = last = 10); SSCD and visionForce average over ranks from 1.

    Raises:
        RuleViolation: the bank is not train or external.
        BadInput: ranks not in 1 <= first <= last <= size of the bank, dimensions differ, NaN or infinite values.
    """
    if not 1 <= first <= last:
        raise BadInput(
            seen=f"ranks {first} to {last}",
            allowed="1 <= first <= last",
            remedy="set norm_first and norm_last of the branch",
        )
    return nearest(vectors, bank, k=last)[0][:, first - 1 :].mean(axis=1)


def with_score_dimension(
    queries: np.ndarray, references: np.ndarray, statistic: np.ndarray, factor: float
) -> tuple[Widened, Widened]:
    """[q, -factor * statistic] and [r, 1], float32: their inner product is q.r - factor * statistic.

    The constant of a query leaves its own order alone and makes the scores of different queries comparable
    (score normalisation of the organisers' baselines).
    """
    own = (-factor * statistic).astype(np.float32)[:, None]
    return Widened(queries, own), Widened(references, np.ones((len(references), 1), np.float32))


def normalised(
    queries: np.ndarray, references: np.ndarray, bank: Embeddings, *, factor: float, first: int, last: int
) -> tuple[Rows, Rows]:
    """Return both sides, with a coordinate more each: their inner product is the normalised score; a factor of 0 adds
    none.

    Raises:
        RuleViolation, BadInput: see `background`.
    """
    if not factor:
        return queries, references
    return with_score_dimension(queries, references, background(queries, bank, first=first, last=last), factor)


PSEUDO_QUERIES = 4_096
"""Train images that stand for queries when a threshold is fitted."""
_COPIES = 10
"""Copies of a train image within train that are recognised as such."""


def cut_pairs(
    left: Rows,
    right: Rows,
    cut: config.Cut,
    *,
    images: int,
    threshold: float | None = None,
    least: int = 0,
    groups: tuple[np.ndarray, np.ndarray] | None = None,
    kept: Kept = NOT_KEPT,
    name: str = "",
) -> Hits:
    """Return the pairs of rows that a cut lets through, by score descending, then query row, then reference row.

    Args:
        left, right: (n, d) and (m, d) float32; the score of a pair is its inner product.
        images: query images, which a cut by rows counts.
        threshold: the fitted score of a cut by share.
        least: a cut by rows lets at least so many pairs through, so that no pair of a small set is lost.
        groups: (n,) and (m,) images that rows are views of, where one pair of views of two images is enough: a cut by
            share then leaves out those that another of the same images beats.
        kept, name: where a cut by share keeps its parts, under which name.
    """
    if cut.by == "share":
        assert threshold is not None, "a cut by share was not fitted"
        return above(left, right, threshold=threshold, groups=groups, kept=kept, name=name)
    if cut.by == "neighbours":
        return _search(left, right, n=max(1, len(left) * int(cut.amount)), per_query=int(cut.amount))
    return _search(left, right, n=max(1, least, round(cut.amount * images)))


_PART = 65_536
"""Views of queries that are searched for at once: a pass over the references each."""


def above(
    left: Rows,
    right: Rows,
    *,
    threshold: float,
    groups: tuple[np.ndarray, np.ndarray] | None = None,
    kept: Kept = NOT_KEPT,
    name: str = "",
) -> Hits:
    """Return all pairs that score `threshold` or more, whatever else is there; arguments as in `cut_pairs`."""

    def part(rows: range, advance: Advance) -> dict[str, np.ndarray]:
        own = slice(rows.start, rows.stop)
        of = None if groups is None else (groups[0][own], groups[1])
        seen = 0

        def passed(references: int) -> None:
            nonlocal seen
            advance(len(rows) * (seen + references) // len(right) - len(rows) * seen // len(right))
            seen += references

        found = pairs_above(left[own], right, threshold=threshold, groups=of, advance=passed)
        return found._replace(query=found.query + rows.start)._asdict()

    shapes = dict.fromkeys(("query", "reference"), "i1") | {"score": "f1"}
    found = Above(**kept.arrays(name, shards(len(left), _PART), part, shapes, title=f"search {name}", unit="view"))
    found = found.kept(np.lexsort((found.reference, found.query, -found.score)))
    return Hits(found.query, found.reference, found.score, 0, threshold)


def threshold(
    bank: Embeddings, *, share: float, norm_factor: float, norm_first: int, norm_last: int, sample: int = PSEUDO_QUERIES
) -> float:
    """Return the score that a share of `share` of all pairs of unrelated train images reaches.

    Train images, the first `sample` by a hash of their ids, stand for queries, and all others for references: images
    that are not in the bank, so neither image of a pair is among the neighbours that its score is normalised by.
    Copies within train are neither neighbours nor unrelated: a neighbour is taken for a copy if it is less than half as
    far as the farthest of the nearest (the test of Lowe, IJCV 2004, with more company).

    Args:
        bank: unit vectors of train, a row an image.

    Raises:
        RuleViolation: the bank is not train or external.
        BadInput: the bank is too small for the ranks, or for so small a share.
    """
    room = min(_COPIES, len(bank.ids) - norm_last - 3)
    if room < 0:
        raise BadInput(
            seen=f"a bank of {len(bank.ids)} train images for a threshold with ranks up to {norm_last}",
            allowed=f"at least {norm_last + 3} images",
            remedy="extract more train images, or set a smaller norm_last",
        )
    drawn = _drawn(bank.ids, sample)
    similarities, rows = nearest(bank.vectors[drawn], bank, k=norm_last + 3 + room)
    related = _related(similarities, own=rows == drawn[:, None], copies=room)
    unrelated = np.argsort(related, axis=1, kind="stable")[:, : norm_last + 1]
    ranked = np.take_along_axis(similarities, unrelated, axis=1)
    near = _near_scores(ranked, factor=norm_factor, first=norm_first, last=norm_last)
    done = related.copy()
    np.put_along_axis(done, unrelated[:, :norm_last], True, axis=1)
    at, column = np.nonzero(done)
    left_out = np.union1d(at * len(bank.ids) + rows[at, column], np.arange(len(drawn)) * len(bank.ids) + drawn)
    wanted = round(share * (len(drawn) * len(bank.ids) - len(left_out) + near.size))
    if wanted < 1:
        raise BadInput(
            seen=f"a share of {share:g} of the pairs of {len(drawn)} x {len(bank.ids)} train images: less than one",
            allowed=f"{1 / len(drawn) / len(bank.ids):.1g} or more",
            remedy="set a larger cut.amount, or extract more train images",
        )
    statistic = ranked[:, norm_first - 1 : norm_last].mean(axis=1)
    left, right = with_score_dimension(bank.vectors[drawn], bank.vectors, statistic, norm_factor)
    hits = _search(left, right, n=wanted + len(left_out))
    far = hits.scores[~np.isin(hits.query_rows * len(right) + hits.reference_rows, left_out)]
    return float(np.sort(np.concatenate([near.ravel(), far]))[-wanted])


def _near_scores(ranked: np.ndarray, *, factor: float, first: int, last: int) -> np.ndarray:
    """Return (n, last) scores of the nearest neighbours, each normalised by the ranks first..last of the others.

    ranked: (n, last + 1) similarities, descending. Without one of them the ones behind it move up.
    """
    window = ranked[:, first - 1 : last + 1]
    gone = np.maximum(np.arange(last), first - 1)
    others = (window.sum(axis=1, keepdims=True) - ranked[:, gone]) / (last - first + 1)
    return ranked[:, :last] - factor * others


def _related(similarities: np.ndarray, *, own: np.ndarray, copies: int) -> np.ndarray:
    """Return (n, k) bool: which of the neighbours of each image, nearest first, are the image itself or a copy of
    it.
    """
    close = 1 - similarities < (1 - similarities[:, -1:]) / 4  # of unit vectors, half of the squared distance
    close[:, copies + 1 :] = False
    return own | close


def _drawn(ids: np.ndarray, sample: int) -> np.ndarray:
    """Return rows of the images that stand for queries, whatever the order of the rows."""
    hashes = [hashlib.sha256(name.encode()).digest() for name in ids.tolist()]
    return np.sort(np.array(sorted(range(len(ids)), key=hashes.__getitem__)[:sample]))


def _search(left: Rows, right: Rows, *, n: int, per_query: int | None = None) -> Hits:
    return search(
        left,
        right,
        n=n,
        metric="ip",
        query_keys=np.arange(len(left)),
        reference_keys=np.arange(len(right)),
        per_query=per_query,
        progress=True,
    )
