"""Products of blocks in bf16, on a GPU or a processor that multiplies it: they propose pairs, with a proven bound.

A row x is x' + e with x' in bf16, so |q.r - q'.r'| <= |eq||r| + |q'||er| (Cauchy-Schwarz); these lengths are measured.
The sum in float32 and its rounding to bf16 add 2^-8 + d 2^-22 of |q'||r'|, d values a row. What is proposed is
multiplied again in float32.
"""

from __future__ import annotations

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
_PAIRS = 1 << 19
"""Pairs that are multiplied again at once: 1 GB."""


def fastest(multiplications: int) -> torch.device | None:
    """Return where bf16 is faster than float32 on processors: a GPU, or a processor with tiles of bf16 (AMX)."""
    gpu = any(Path("/dev").glob("nvidia[0-9]*"))
    if multiplications < WORTH or not (gpu or _has_tiles()):
        return None
    import torch

    if gpu and torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("cpu") if _has_tiles() else None


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
