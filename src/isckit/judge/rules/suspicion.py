"""The tests of what the numbers of a descriptor file say by themselves about a fit on the very images it describes.

Rule 5.5 asks that a vector come from its own image and from constants fitted on train. A constant fitted on the images
described leaves a trace: a mean, a correlation, a variance or an extreme that meets its target far better than a set of
this size does by chance. Every test measures the miss in units of its sampling error, so an honest file is expected at
1 or above: constants fitted on train carry an error of their own on top.

A miss that is the mean of k squared errors stays below t with a chance of at most (e t)^(k/2) (Chernoff bound of
chi-squared). The threshold is the t at which this is FALSE_ALARM, and never above CAP: a margin for rows and columns
that are not quite independent.

Simulated on clustered, skewed features of 8 to 256 dimensions, 50 to 5,000 rows, whitened by powers 0 to 0.5, with and
without unit length. Fitted on 2,000 or 20,000 train rows: 2,880 sets, no false alarm, no statistic below 3.6 times its
threshold. Fitted on the set itself: all found before unit length; after it 70 to 77 % of sets of 50 or 200 rows, 33 to
63 % of 1,000 or 5,000. Unit length blunts these tests, the more so the more rows there are, and steps after it (train
neighbours subtracted, queries stretched) blunt them further. A fit on train and references together, query expansion
and neighbourhood graphs leave no such trace: silence is no acquittal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from isckit.submission import SIDES, open_descriptors
from isckit.types import BadInput

FALSE_ALARM = 1e-9
"""Chance at most that a test suspects an honest file, if its rows are independent draws."""
CAP = 0.2
MIN_ROWS = 50
MIN_COLUMNS = 8
SHARE = 0.95
"""Share of columns, or of queries, that must agree before agreement is suspicious."""
FITS = ("mean", "correlation of columns", "spread of variances", "columns with a common extreme")

_BLOCK = 16_384
_EDGE = 1e-4
"""Part of a column's range that counts as close to its extreme."""
_ROUNDING = 3e-7
"""Relative error of a value that was scaled to one in float32."""
_CONSTANT = 1e-12
"""Variance, relative to the largest mean square of a column, that is no more than float32 rounding."""


@dataclass(frozen=True)
class Suspicion:
    """Outcome of one test.

    Attributes:
        name: what was tested, and of what.
        statistic: measured value; None where the file is too small or too coarse to say.
        threshold: where suspicion begins; None where the test only notes.
        honest: value expected of an honest submission, where there is one.
        suspicious: whether an honest pipeline cannot have produced it, to the stated bound.
        words: what it would mean, or why nothing can be said.
    """

    name: str
    statistic: float | None
    threshold: float | None
    honest: float | None
    suspicious: bool
    words: str

    def __str__(self) -> str:
        if self.statistic is None or self.threshold is None:
            return f"{self.name}: {self.words}"
        if not self.suspicious:
            return f"{self.name} {self.statistic:.3g}/{self.threshold:.2g}"
        return (
            f"{self.name} {self.statistic:.3g} (honest {self.honest:.3g}, threshold {self.threshold:.2g}): {self.words}"
        )


def silent(name: str, why: str) -> Suspicion:
    """Return a test that cannot say anything."""
    return Suspicion(name, None, None, None, False, why)


@dataclass(frozen=True)
class _Moments:
    """Of one block of rows: count, sum and products about a common origin; extremes, rows close to them; not zero."""

    n: int
    total: np.ndarray
    products: np.ndarray
    low: np.ndarray
    high: np.ndarray
    low_rows: np.ndarray
    high_rows: np.ndarray
    filled: np.ndarray


def suspect_descriptors(path: Path) -> list[Suspicion]:
    """Test queries, references, and both together for a centring, rotation, whitening or scaling fitted on them.

    One pass in blocks of rows.

    Raises:
        MissingInput: there is no such file.
        BadInput: its layout is not that of a Descriptor track file, or values are not finite.
    """
    with open_descriptors(path) as sides:
        matrices = {SIDES[side.role]: side.vectors for side in sides}
        shapes = [matrix.shape for matrix in matrices.values()]
        if len({shape[1] for shape in shapes}) > 1 or 0 in (shapes[0] + shapes[1]):
            raise _unreadable(f"{path}: matrices of shape {shapes[0]} and {shapes[1]}")
        origin = matrices["reference"][:_BLOCK].mean(axis=0, dtype=np.float64)
        keys: dict[str, list[np.ndarray]] = {name: [] for name in matrices}
        parts = {name: list(_summaries(matrix, origin, keys[name])) for name, matrix in matrices.items()}
    parts["query and reference"] = [part for found in parts.values() for part in found]
    found = [test for name, blocks in parts.items() for test in _fitted(name, blocks, origin)]
    return [*found, _repeats(*map(np.concatenate, keys.values()))]


def row_keys(block: np.ndarray) -> np.ndarray:
    """Return uint64 keys (n,) of float32 rows (n, d): equal rows get equal keys, others do with a chance of about
    2**-63.
    """
    mixer = np.random.default_rng(0).integers(2**63, size=block.shape[1], dtype=np.uint64) * 2 + 1
    return (np.ascontiguousarray(block, np.float32).view(np.uint32) * mixer).sum(axis=1)


def _summaries(matrix: h5py.Dataset, origin: np.ndarray, keys: list[np.ndarray]) -> Iterator[_Moments]:
    for start in range(0, len(matrix), _BLOCK):
        rows = matrix[start : start + _BLOCK]
        low, high = rows.min(axis=0), rows.max(axis=0)
        # The square root of float32's largest number: beyond it squares are infinite.
        if not (low > -1e19).all() or not (high < 1e19).all():
            raise _unreadable(f"{matrix.name}: NaN, inf or beyond 1e19 in rows {start} to {start + len(rows) - 1}")
        keys.append(row_keys(rows))
        edge = np.float32(_EDGE) * (high - low)
        near = (rows <= low + edge).sum(axis=0), (rows >= high - edge).sum(axis=0)
        centred = rows - origin
        yield _Moments(len(rows), centred.sum(axis=0), centred.T @ centred, low, high, *near, (rows != 0).sum(axis=0))


def _unreadable(seen: str) -> BadInput:
    return BadInput(
        seen=seen,
        allowed="finite vectors of one width on both sides",
        remedy="see every fault of form with: isckit check FILE",
    )


def _fitted(side: str, blocks: list[_Moments], origin: np.ndarray) -> list[Suspicion]:
    """The four tests of one set of rows; constant columns take no part.

    All but the mean also leave out sparse columns (mostly zero, or carried by fewer than sqrt(n) rows): these hardly
    ever meet in a row, and are nearly uncorrelated whatever they were fitted on. Variances leave out columns of a few
    values or none beyond two deviations, whose variance is nearly fixed by their range.
    """
    n = sum(block.n for block in blocks)
    shift = np.sum([block.total for block in blocks], axis=0) / n
    covariance = np.sum([block.products for block in blocks], axis=0) / n - np.outer(shift, shift)
    mean, variance = origin + shift, covariance.diagonal()
    low, high = np.min([block.low for block in blocks], axis=0), np.max([block.high for block in blocks], axis=0)
    reach = np.maximum(high - mean, mean - low) ** 2
    varying = variance > _CONSTANT * (variance + mean**2).max()
    if n < MIN_ROWS:
        return [silent(f"{side}: {test}", f"too few rows to say: {n}") for test in FITS]
    filled = np.sum([block.filled for block in blocks], axis=0)
    dense = varying & (variance * np.sqrt(n) >= reach) & (2 * filled >= n)
    return [
        _centred(side, n, mean[varying], covariance[np.ix_(varying, varying)]),
        _uncorrelated(side, n, covariance[np.ix_(dense, dense)]),
        _equal_variances(side, n, variance[dense & (reach > 4 * variance)]),
        _common_extreme(side, blocks, dense),
    ]


def _centred(side: str, n: int, mean: np.ndarray, covariance: np.ndarray) -> Suspicion:
    """|mean|^2 over its sampling error, trace(covariance) / n: a mean over the effective number of dimensions."""
    variance, squares = covariance.diagonal().sum(), np.square(covariance).sum()
    errors = variance**2 / squares if len(mean) else 0.0
    miss = n * np.square(mean).sum() / variance if len(mean) else 0.0
    return _missed(f"{side}: {FITS[0]}", miss, errors, "the mean of this very set was subtracted")


def _uncorrelated(side: str, n: int, covariance: np.ndarray) -> Suspicion:
    """Mean squared correlation of two columns over 1/n, its expectation for uncorrelated ones."""
    width = len(covariance)
    scale = np.sqrt(covariance.diagonal())
    squares = np.square(covariance / np.outer(scale, scale)).sum() - width
    pairs = width * (width - 1) / 2
    miss = n * squares / max(1, 2 * pairs)
    return _missed(f"{side}: {FITS[1]}", miss, pairs, "the axes are the principal axes of this very set")


def _equal_variances(side: str, n: int, variance: np.ndarray) -> Suspicion:
    """Squared coefficient of variation of the variances over 2/n, its expectation for equal ones (Gaussian)."""
    errors = len(variance) - 1
    miss = n / 2 * np.square(variance / variance.mean() - 1).sum() / errors if errors > 0 else 0.0
    return _missed(f"{side}: {FITS[2]}", miss, errors, "the columns were scaled to one variance on this very set")


def _missed(name: str, miss: float, errors: float, words: str) -> Suspicion:
    """Judge the mean of `errors` squared errors, each of expectation 1."""
    if errors < 2:
        return silent(name, "too few columns to say")
    threshold = min(CAP, FALSE_ALARM ** (2 / errors) / np.e)
    return Suspicion(name, max(0.0, float(miss)), float(threshold), 1.0, bool(miss < threshold), words)


def _common_extreme(side: str, blocks: list[_Moments], dense: np.ndarray) -> Suspicion:
    """Share of columns whose largest (absolute) value is the common one, with no other row close to it.

    Clipped, quantised or saturating values have a common extreme too, but one that many rows meet or come close to.
    """
    name = f"{side}: {FITS[3]}"
    if dense.sum() < MIN_COLUMNS:
        return silent(name, "too few columns to say")
    lows, highs, low_rows, high_rows = (
        np.array([getattr(block, field)[dense] for block in blocks])
        for field in ("low", "high", "low_rows", "high_rows")
    )
    low, high = lows.min(axis=0), highs.max(axis=0)
    edge = _EDGE * (high - low)
    at_low, at_high = ((low_rows * (lows <= low + edge)).sum(axis=0), (high_rows * (highs >= high - edge)).sum(axis=0))
    largest, at_largest = np.maximum(high, -low), np.where(high >= -low, at_high, at_low)
    share = max(
        float(((np.abs(extreme - np.median(extreme)) <= _ROUNDING * largest.max()) & (near == 1)).mean())
        for extreme, near in ((high, at_high), (largest, at_largest))
    )
    words = "the columns were scaled by their extremes in this very set"
    return Suspicion(name, share, SHARE, 0.0, share >= SHARE, words)


def _repeats(queries: np.ndarray, references: np.ndarray) -> Suspicion:
    """Vectors that are another's, bit for bit; equal images have them too."""
    within = len(queries) + len(references) - len(np.unique(queries)) - len(np.unique(references))
    across = int(np.isin(queries, references).sum())
    words = f"{within:,} equal one of their own side, {across:,} queries equal a reference (a hint: equal images do)"
    return Suspicion("repeated vectors", float(within + across), None, None, False, words)
