"""Products on a GPU, or on a processor that multiplies bf16: they propose pairs, with a proven bound.

A row x is x' + e with x' in bf16, so |q.r - q'.r'| <= |eq||r| + |q'||er| (Cauchy-Schwarz); these lengths are measured.
The sum in float32 and its rounding to bf16 add 2^-8 + d 2^-22 of |q'||r'|, d values a row. What is proposed is
multiplied again in float32.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from isckit.vectors.products import Rows

if TYPE_CHECKING:
    import torch

TILE_COLUMNS = 16_384
"""Reference rows of a tile: where all pairs of 512 queries reach what is needed, half a gigabyte."""
WORTH = 1 << 38
"""Multiplications that take longer than torch takes to start."""
_UPLOAD = 65_536
TOGETHER = 1 << 26
"""Products of points that are held at once by a thread: 0.3 GB, and distances of one side beside them."""
_PAIRS = 1 << 19
"""Pairs that are multiplied again at once: 1 GB."""


def fastest(multiplications: int) -> torch.device | None:
    """Return where bf16 is faster than float32 on processors: a GPU, or a processor with tiles of bf16 (AMX)."""
    if (place := gpu(multiplications)) is not None:
        return place
    if multiplications < WORTH or not _has_tiles():
        return None
    import torch

    return torch.device("cpu")


def gpu(multiplications: int) -> torch.device | None:
    """Return the GPU for so much work; None where there is none, or where work is done before torch has started."""
    if multiplications < WORTH or not any(Path("/dev").glob("nvidia[0-9]*")):
        return None
    import torch

    return torch.device("cuda") if torch.cuda.is_available() else None


def _has_tiles() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and " amx_bf16" in cpuinfo.read_text()


class Bf16:
    """Query rows, and one block of reference rows after the other, in float32 and in bf16 on a device."""

    def __init__(self, queries: Rows, device: torch.device) -> None:
        """Take (n, d) query rows to a device, part by part."""
        import torch

        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False  # the bound needs sums in float32
        self.torch, self.device = torch, device
        self.queries = torch.empty(queries.shape, dtype=torch.float32, device=device)
        for start in range(0, len(queries), _UPLOAD):
            part = np.ascontiguousarray(queries[start : start + _UPLOAD])
            self.queries[start : start + len(part)] = torch.from_numpy(part).to(device)
        self.short, self.lost, self.lengths = self._rounded(self.queries)

    def take(self, rows: np.ndarray) -> None:
        """Take the next block of reference rows, (m, d) float32."""
        self.rows = self.torch.from_numpy(rows).to(self.device)
        self.columns, lost, lengths = self._rounded(self.rows)
        most = float(lost.max()), float(lengths.max()) + float(lost.max())
        rounding = 1.01 * (2.0**-8 + self.rows.shape[1] * 2.0**-22)
        errors = self.lost * most[1] + self.lengths * most[0] + rounding * self.lengths * most[1]
        self.margins = errors.cpu().numpy().astype(np.float64)

    def products(self, queries: slice, columns: slice) -> torch.Tensor:
        """Return the (q, c) bf16 products of some queries and rows of the block, within `margins` of the true ones."""
        return self.short[queries] @ self.columns[columns].T

    def reaching(
        self,
        tile: torch.Tensor,
        queries: slice,
        columns: slice,
        needed: np.ndarray,
        errors: np.ndarray,
        *,
        nearest: int,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return row and column in the tile, and float32 product, of what reaches `needed`.

        Args:
            tile: what `products` returned for these queries and columns.
            needed: (q,) float32, a product in bf16.
            errors: (q,) float64, by which these differ at most from what decides.
            nearest: where above 0, only so many of each row are wanted.
        """
        torch, least = self.torch, self.torch.from_numpy(needed).to(self.device)
        if 0 < nearest <= tile.shape[1]:  # what lies two errors below the last of them cannot be one of them
            apart = torch.from_numpy((2.02 * errors).astype(np.float32)).to(self.device)
            least = torch.maximum(least, tile.topk(nearest, dim=1).values[:, -1].float() - apart)
        row, column = (tile >= least[:, None]).nonzero(as_tuple=True)
        left, right = self.queries[queries], self.rows[columns]
        pairs = zip(row.split(_PAIRS), column.split(_PAIRS), strict=True)
        values = [(left[i] * right[j]).sum(dim=1) for i, j in pairs]
        value = torch.cat([torch.empty(0, device=self.device), *values])
        return row.cpu().numpy(), column.cpu().numpy(), value.cpu().numpy()

    def _rounded(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return rows in bf16, and upper bounds of the lengths of what they lost and of what they are."""
        short = rows.bfloat16()
        lost, lengths = (rows - short.float()).norm(dim=1), short.float().norm(dim=1)
        return short, lost * 1.001 + 1e-15, lengths * 1.001 + 1e-15


def alone(
    columns: np.ndarray, bounds: np.ndarray, references: Sequence[np.ndarray], ratio: float, place: torch.device
) -> list[list[tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    """Return, of each reference and each side of a query, the reference points beside which one query point is alone.

    All numbers are whole or halves and below 2^24, as descriptors are of 8 bits or single bits: float32 sums of any
    order are exact, and so the same as a processor's.

    Args:
        columns: (d + 1, q) float32, query points and in the last row minus half their squared lengths.
        bounds: where the points of each side begin, and the end.
        references: (n, d) float32 points of each.
        ratio: a point is alone if no other lies within this times its squared distance.
        place: which device.

    Returns:
        Query points (of the side) and reference points (int64), and squared distances (float32).
    """
    import torch

    shown, most = torch.from_numpy(columns).to(place), TOGETHER // max(1, columns.shape[1])
    found, part = [], []
    for number, reference in enumerate(references):
        part.append(reference)
        if number + 1 == len(references) or sum(map(len, part)) + len(references[number + 1]) > most:
            found += _alone(shown, bounds.tolist(), part, ratio)
            part = []
    return found


def _alone(
    shown: torch.Tensor, bounds: list[int], references: Sequence[np.ndarray], ratio: float
) -> list[list[tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    import torch

    points = torch.from_numpy(np.concatenate(references)).to(shown.device)
    products, lengths = points @ shown[:-1] + shown[-1], points.square().sum(dim=1)
    sides = []
    for start, stop in itertools.pairwise(bounds):
        if stop == start or not len(points):
            sides.append((np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)))
            continue
        distances = lengths[:, None] - 2 * products[:, start:stop]
        first, at = distances.min(dim=1)
        right = ((distances <= ratio * first[:, None]).sum(dim=1) < 2).nonzero()[:, 0]
        sides.append((at[right].cpu().numpy(), right.cpu().numpy(), first[right].cpu().numpy()))
    ends = np.cumsum([0, *map(len, references)])
    return [[_between(side, *ends[number : number + 2]) for side in sides] for number in range(len(references))]


def _between(
    found: tuple[np.ndarray, np.ndarray, np.ndarray], start: int, stop: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    left, right, first = found
    own = slice(*np.searchsorted(right, [start, stop]))
    return left[own], right[own] - start, first[own]
