"""A check whether two images show the same picture: points matched one to one, and how many fit one geometric model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from isckit.config import Verify
from isckit.features.points import Points
from isckit.features.store import Store
from isckit.vectors import device
from isckit.vectors.compiled import compiled

_DRAWS = 1_000
"""Models that MAGSAC tries at most; its draws are those of a fixed seed."""
_LARGEST_SCALE = 16.0
"""By which length a picture may be enlarged or reduced between reference and query."""
_LARGEST_STRETCH = 4.0
"""The largest ratio of the scale along one direction to that across it."""
_NEEDED = {"similarity": 2, "affine": 3, "homography": 4}
"""Matches that decide a model; with no more there is nothing that could disagree."""
_PRODUCTS = 1 << 26
"""Multiplications a pair: 500 points by 1,000 of both sides, of 128 values."""
_VISIBLE_PRIOR = 20.0
"""Points added to those that could have matched, so that few points are no proof."""


class Shown:
    """A query as it is shown, and mirrored where that counts too: many references are compared with it."""

    def __init__(self, sides: Sequence[Points]) -> None:
        """Args: `sides` are the points of each."""
        self.sides = sides
        self.bounds = np.concatenate([[0], np.cumsum([len(side) for side in sides])])
        vectors = np.concatenate([side.vectors() for side in sides])
        # |r - q|^2 = |r|^2 - 2 (r.q - |q|^2 / 2): the bracket is a product with one more coordinate, exact in float32.
        self.columns = np.column_stack([vectors, np.einsum("ij,ij->i", vectors, vectors) / -2]).T.copy()
        self._room = np.empty((0, 0), np.float32)

    def score(self, reference: Points, settings: Verify) -> float:
        """Return how sure it is that the query shows a reference, by their points alone; the best over the sides.

        0 where too little fits. With score="count", the matches or inliers, and a part in (0, 1) that is larger the
        nearer their descriptors are. With "relative", the sum of exp(-error / (tolerance / 2)) over inliers, divided by
        the root of the number of points that could have matched: those of the smaller side in the part of the picture
        that both show. Texture and near duplicates have many points that do not fit; pictures of the same thing fit,
        but not to the pixel.
        """
        matches = self.matches(reference, ratio=settings.ratio, least=max(settings.least, 1))
        return self.best(reference, matches, settings)

    def matches(self, reference: Points, *, ratio: float, least: int = 1) -> list[Matched]:
        """Return the matches of each side, nearest first (imgFp); none where there are fewer than `least`.

        A reference point matches its nearest query point if `ratio` times its distance is below that to the second. Of
        matches at one place, to the pixel, in either image the nearest counts.
        """
        descriptors = reference.vectors()
        rows = np.ones((len(descriptors), len(self.columns)), np.float32)
        rows[:, :-1] = descriptors
        if len(rows) > len(self._room):
            self._room = np.empty((len(rows), self.columns.shape[1]), np.float32)
        products = np.matmul(rows, self.columns, out=self._room[: len(rows)])
        lengths = np.einsum("ij,ij->i", descriptors, descriptors)
        found = []
        for start, stop in itertools.pairwise(self.bounds):
            own = products[:, start:stop]
            first = lengths - 2 * own.max(axis=1, initial=-np.inf)
            right = _alone(own, lengths, ratio * first)
            found.append((own[right].argmax(axis=1) if stop > start else right, right, first[right]))
        return self.one_to_one(reference, found, least=least)

    def one_to_one(self, reference: Points, nearest: Sequence[Matched], *, least: int) -> list[Matched]:
        """Return the matches of each side, of the query points that stand alone beside each reference point."""
        return [
            _one_to_one(side, reference, *found) if len(side) > 1 and len(found[1]) >= least else _NO_MATCH
            for side, found in zip(self.sides, nearest, strict=True)
        ]

    def best(self, reference: Points, matches: Sequence[Matched], settings: Verify) -> float:
        """Return the best score over the sides, of their matches."""
        return max(_score(side, reference, *found, settings) for side, found in zip(self.sides, matches, strict=True))


Matched = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Rows of query and of reference points (int64), and their squared distances (float32)."""
_NO_MATCH: Matched = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))


@compiled
def _alone(products, lengths, limits):  # type: ignore[no-untyped-def]
    """Return the rows in which a single product is that of a squared distance up to the row's limit."""
    rows, count = np.empty(len(products), np.int64), 0
    for row in range(len(products)):
        near = 0
        for column in range(products.shape[1]):
            if lengths[row] - np.float32(2) * products[row, column] <= limits[row]:
                near += 1
                if near == 2:  # which most rows find at once
                    break
        if near < 2:
            rows[count] = row
            count += 1
    return rows[:count]


def _one_to_one(query: Points, reference: Points, left: np.ndarray, right: np.ndarray, first: np.ndarray) -> Matched:
    """Return the matches by distance, of those at one place, to the pixel, in either image the nearest."""
    order = np.argsort(first, kind="stable")
    for frames, at in ((reference.frames, right), (query.frames, left)):
        order = order[_distinct(frames[at[order], :2])]
    return left[order], right[order], first[order]


def _score(
    query: Points, reference: Points, left: np.ndarray, right: np.ndarray, distances: np.ndarray, settings: Verify
) -> float:
    if len(left) < max(settings.least, 1):
        return 0.0
    if settings.model == "none":
        return counted(len(left), distances)
    found = _model(reference.frames[right, :2], query.frames[left, :2], settings)
    if found is None or not _sane(found, reference.frames[:, :2]):
        return 0.0
    errors = np.linalg.norm(project(reference.frames[right, :2], found) - query.frames[left, :2], axis=1)
    inside = errors <= settings.tolerance
    if inside.sum() < max(settings.least, _NEEDED[settings.model] + 1):
        return 0.0
    if settings.score == "count":
        return counted(int(inside.sum()), distances[inside])
    fitting = np.exp(errors[inside] * (-2 / settings.tolerance)).sum()
    return float(fitting / np.sqrt(_visible(query, reference, found) + _VISIBLE_PRIOR))


def counted(matches: int, distances: np.ndarray) -> float:
    """Return number of matches and a tie-breaker in (0, 1), larger for smaller squared distances of 8-bit RootSIFT."""
    return matches + 1 / (2 + float(distances.mean()) / 8_000)


def project(places: np.ndarray, model: np.ndarray) -> np.ndarray:
    """Return (n, 2) places under a (3, 3) model; what lies behind the horizon goes far away."""
    mapped = places.astype(np.float64) @ model[:, :2].T + model[:, 2]
    return mapped[:, :2] / np.where(mapped[:, 2:] > 1e-6, mapped[:, 2:], 1e-6)


def _distinct(places: np.ndarray) -> np.ndarray:
    """Return rows of the first at each place, to the pixel, in order."""
    rounded = np.rint(places).astype(np.int64)
    return np.sort(np.unique(rounded[:, 0] * (1 << 32) + rounded[:, 1], return_index=True)[1])


def _model(reference: np.ndarray, query: np.ndarray, settings: Verify) -> np.ndarray | None:
    """Return (3, 3) model from places in the reference to places in the query; None where there is none."""
    if len(reference) < _NEEDED[settings.model]:
        return None
    how: Any = {"method": cv2.USAC_MAGSAC, "ransacReprojThreshold": settings.tolerance, "maxIters": _DRAWS}
    if settings.model == "homography":
        return cv2.findHomography(reference, query, **how)[0]
    if settings.model == "affine":
        upper = cv2.estimateAffine2D(reference, query, **how)[0]
    else:
        upper = cv2.estimateAffinePartial2D(reference, query, **how | {"method": cv2.RANSAC})[0]
    return None if upper is None else np.vstack([upper, [0, 0, 1]])


def _sane(model: np.ndarray, places: np.ndarray) -> bool:
    """Return True if the model maps the reference's part that has points to a picture that somebody could have made of
    it.
    """
    (left, top), (right, bottom) = places.min(axis=0), places.max(axis=0)
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)
    if not np.isfinite(model).all() or ((corners @ model[2, :2] + model[2, 2]) <= 1e-6).any():
        return False
    centre = corners.mean(axis=0)
    jacobian = (project(centre + np.eye(2), model) - project(centre[None], model)).T
    large, small = np.linalg.svd(jacobian, compute_uv=False)
    sizes_fit = small >= 1 / _LARGEST_SCALE and large <= min(_LARGEST_SCALE, _LARGEST_STRETCH * small)
    return bool(sizes_fit and np.linalg.det(jacobian) > 0)


def _visible(query: Points, reference: Points, model: np.ndarray) -> int:
    """Return points that could have matched: at distinct places, in the part of the picture that both images show."""
    there = _inside(project(reference.frames[:, :2], model), query.frames[:, :2])
    here = _inside(project(query.frames[:, :2], np.linalg.inv(model)), reference.frames[:, :2])
    return min(len(_distinct(reference.frames[there, :2])), len(_distinct(query.frames[here, :2])))


def _inside(places: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which places lie in the rectangle that the others span, to half a pixel."""
    return ((places >= others.min(axis=0) - 0.5) & (places <= others.max(axis=0) + 0.5)).all(axis=1)


def verified(
    sides: list[Store],
    references: Store,
    query: np.ndarray,
    reference: np.ndarray,
    settings: Verify,
    *,
    workers: int,
    advance: Callable[[int], object] = lambda queries: None,
) -> np.ndarray:
    """Return the score of each pair of rows, the best over the sides of its query: (n,) float64.

    Args:
        query, reference: (n,) rows, ordered by query.
        workers: threads.
        advance: is told of queries that are done.
    """

    place = device.gpu(len(query) * _PRODUCTS)

    def look(rows: slice) -> np.ndarray:
        shown = Shown([side.points(int(query[rows.start])) for side in sides])
        seen = [references.points(int(row)) for row in reference[rows]]
        if place is None:
            return np.array([shown.score(points, settings) for points in seen])
        nearest = device.alone(
            shown.columns, shown.bounds, [points.vectors() for points in seen], settings.ratio, place
        )
        least = max(settings.least, 1)
        matches = (shown.one_to_one(*pair, least=least) for pair in zip(seen, nearest, strict=True))
        return np.array([shown.best(*pair, settings) for pair in zip(seen, matches, strict=True)])

    starts = np.unique(query, return_index=True)[1]
    ends = np.append(starts[1:], len(query))[: len(starts)]
    parts = [slice(*bounds) for bounds in zip(starts, ends, strict=True)]
    scores = [np.zeros(0)]
    with threadpool_limits(1), ThreadPoolExecutor(max(1, workers)) as pool:
        for found in pool.map(look, parts):
            scores.append(found)
            advance(1)
    return np.concatenate(scores)
