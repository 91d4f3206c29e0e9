"""Whether two images show the same picture: points matched one to one, and how many of them fit one geometric model."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from isckit.config import Verify
from isckit.features.points import Points
from isckit.matching.local.index import squared_distances

_DRAWS = 1_000
"""Models that MAGSAC tries at most; its draws are those of a fixed seed."""
_LARGEST_SCALE = 16.0
"""By which length a picture may be enlarged or reduced between reference and query."""
_LARGEST_STRETCH = 4.0
"""How many times more along one direction than across it."""
_NEEDED = {"similarity": 2, "affine": 3, "homography": 4}
"""Matches that decide a model; with no more there is nothing that could disagree."""
_VISIBLE_PRIOR = 20.0
"""Points added to those that could have matched, so that few points are no proof."""


def score(query: Points, reference: Points, settings: Verify) -> float:
    """Return how sure it is that a query shows a reference, from their points alone; 0 where too little fits.

    With score="count", the matches or inliers, and a part in (0, 1) that is larger the nearer their descriptors are.
    With "relative", the sum of exp(-error / (tolerance / 2)) over inliers, divided by the root of the number of points
    that could have matched: those of the smaller side in the part of the picture that both show. Texture and near
    duplicates have many points that do not fit; pictures of the same thing fit, but not to the pixel.
    """
    left, right, distances = match(query, reference, ratio=settings.ratio)
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


def match(query: Points, reference: Points, *, ratio: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows of matched points of query and reference, and their squared distances, nearest first (imgFp).

    A reference point matches its nearest query point if `ratio` times its distance is below that to the second. Of
    matches at one place, to the pixel, in either image the nearest counts.
    """
    if len(reference) < 1 or len(query) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    every = squared_distances(reference.vectors(), query.vectors())
    rows = np.arange(len(every))
    nearest = every.argmin(axis=1)
    first = every[rows, nearest]
    every[rows, nearest] = np.inf
    right = np.flatnonzero(ratio * first < every.min(axis=1))
    right = right[np.argsort(first[right], kind="stable")]
    for frames, at in ((reference.frames, rows), (query.frames, nearest)):
        right = right[_distinct(frames[at[right], :2])]
    return nearest[right], right, first[right]


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
