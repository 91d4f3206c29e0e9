"""Pairs of rows that may reach a floor: products of tiles on all cores, looked through while they are in the cache."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

import numpy as np
from threadpoolctl import ThreadpoolController
from tqdm import tqdm

from isckit.vectors import device
from isckit.vectors.compiled import compiled
from isckit.vectors.products import PAIR, Scorer

TILE_COLUMNS = 4096
_RUN = 128
"""Products whose maximum is taken at once: few of them reach a floor."""

_MARGIN = 1.3
"""Errors of a product by which the nearest are lowered: two differences are rounded, a bound has nine terms or more."""

Floors = Callable[[np.ndarray], np.ndarray]
"""The score (float64, never falling) that a pair of each of these query rows has to reach."""


class Scan:
    """The pairs of a matrix product that may reach the floors of their queries, block after block of references.

    A thread takes a tile, multiplies by a BLAS of one thread, and looks through it: no core waits for another one's
    tile, and a product is seen once. Where a device multiplies faster, whole blocks are its tiles.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        query_block: int,
        floors: Floors,
        first_look: Callable[[np.ndarray, np.ndarray], None] | None = None,
        nearest: int = 0,
    ) -> None:
        """Plan a scan.

        Args:
            scorer: of both matrices.
            query_block: rows of a tile.
            floors: known from elsewhere; read anew for every tile.
            first_look: takes query rows without a floor and a tile's lower bounds (rows, columns), and may set one.
            nearest: where only so many pairs of a query are wanted, the scan raises floors by those it has seen.
        """
        self.scorer, self.query_block, self.floors, self.first_look = scorer, query_block, floors, first_look
        starts = range(0, len(scorer.queries), query_block)
        self.parts = [np.arange(start, min(start + query_block, len(scorer.queries))) for start in starts]
        self.locks = [threading.Lock() for _ in self.parts]
        self.best = np.full((len(scorer.queries), nearest), -np.inf, np.float32)

    def blocks(self, *, progress: bool = False) -> Iterator[tuple[int, np.ndarray, Iterator[np.ndarray]]]:
        """Yield first row and rows of each block of references, with its pairs (PAIR, rows counted within it)."""
        scorer = self.scorer
        total, place = -(-scorer.references.shape[0] // scorer.block), None
        if len(scorer.queries):
            place = device.fastest(len(scorer.queries) * scorer.references.shape[0] * scorer.queries.shape[1])
        if place is not None:
            products = device.Bf16(scorer.columns, place)
            for first, rows, sizes in tqdm(
                scorer.blocks(), total=total, desc="search", unit="block", disable=not progress
            ):
                yield first, rows, self._pairs_on(products, rows, sizes)
            return
        controller = ThreadpoolController().select(user_api="blas")
        threads = max([1, *(library["num_threads"] for library in controller.info())])
        with controller.limit(limits=1), ThreadPoolExecutor(threads) as pool:
            self.buffers: SimpleQueue[_Buffers] = SimpleQueue()
            size = min(self.query_block, len(self.scorer.queries)) * TILE_COLUMNS
            for _ in range(threads):
                self.buffers.put(_Buffers(size))
            for first, rows, sizes in tqdm(
                scorer.blocks(), total=total, desc="search", unit="block", disable=not progress
            ):
                yield first, rows, self._pairs(pool, threads, rows, sizes)

    def _pairs(
        self, pool: ThreadPoolExecutor, threads: int, rows: np.ndarray, sizes: np.ndarray
    ) -> Iterator[np.ndarray]:
        """Yield the pairs of each tile, in one order; only some tiles are ahead of those that were taken."""
        running: deque[Future[np.ndarray]] = deque()
        for column in range(0, len(rows), TILE_COLUMNS):
            for part in range(len(self.parts)):
                running.append(pool.submit(self._tile, part, rows, sizes, column))
                if len(running) > 2 * threads:
                    yield running.popleft().result()
        while running:
            yield running.popleft().result()

    def _tile(self, part: int, rows: np.ndarray, sizes: np.ndarray, column: int) -> np.ndarray:
        buffers = self.buffers.get()
        try:
            columns = slice(column, column + TILE_COLUMNS)
            return self._looked_through(part, rows[columns], sizes[columns], column, buffers)
        finally:  # of a fault too: others wait for the buffers
            self.buffers.put(buffers)

    def _looked_through(
        self, part: int, rows: np.ndarray, sizes: np.ndarray, column: int, buffers: _Buffers
    ) -> np.ndarray:
        scorer, queries = self.scorer, self.parts[part]
        tile = buffers.products[: len(queries) * len(rows)].reshape(len(queries), -1)
        np.matmul(scorer.columns[queries[0] : queries[-1] + 1], rows.T, out=tile)
        offsets = scorer.offsets[queries]
        widest = scorer.error(scorer.query_lengths[queries], sizes.max())
        floors = self.floors(queries)
        if self.first_look is not None and np.isneginf(floors).any():
            self.first_look(queries, scorer.scale * tile.astype(np.float64) + (offsets - widest)[:, None])
            floors = self.floors(queries)
        needed = _below((floors - offsets - widest) / scorer.scale)
        found = buffers.rows, buffers.columns, buffers.values
        margins = (_MARGIN * widest / scorer.scale).astype(np.float32)
        with self.locks[part]:
            best = self.best[queries[0] : queries[-1] + 1]
            count = _reaching(tile, needed, best, margins, *found)
        row, at, value = (array[:count] for array in found)
        return self._bounded(queries, floors, row, at, value, sizes, column)

    def _bounded(
        self,
        queries: np.ndarray,
        floors: np.ndarray,
        row: np.ndarray,
        at: np.ndarray,
        value: np.ndarray,
        sizes: np.ndarray,
        column: int,
    ) -> np.ndarray:
        """Return pairs (PAIR) of float32 products that may reach their floors."""
        score = self.scorer.scale * value.astype(np.float64) + self.scorer.offsets[queries[row]]
        error = self.scorer.error(self.scorer.query_lengths[queries[row]], sizes[at])
        keep = score + error >= floors[row]
        pairs = np.empty(int(keep.sum()), PAIR)
        pairs["query"], pairs["reference"] = queries[row[keep]], column + at[keep]
        pairs["low"], pairs["high"] = (score - error)[keep], (score + error)[keep]
        return pairs

    def _pairs_on(self, products: device.Bf16, rows: np.ndarray, sizes: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the pairs of each tile, which a device multiplies."""
        products.take(rows)
        for column in range(0, len(rows), device.TILE_COLUMNS):
            for queries in self.parts:
                yield self._proposed(products, queries, slice(column, column + device.TILE_COLUMNS), sizes)

    def _proposed(self, products: device.Bf16, queries: np.ndarray, columns: slice, sizes: np.ndarray) -> np.ndarray:
        scorer, own = self.scorer, slice(int(queries[0]), int(queries[-1]) + 1)
        tile, offsets, floors = products.products(own, columns), scorer.offsets[queries], self.floors(queries)
        widest = scorer.error(scorer.query_lengths[queries], sizes.max()) + scorer.scale * products.margins[own]
        if self.first_look is not None and np.isneginf(floors).any():
            self.first_look(queries, scorer.scale * tile.double().cpu().numpy() + (offsets - widest)[:, None])
            floors = self.floors(queries)
        needed, errors = _below((floors - offsets - widest) / scorer.scale), widest / scorer.scale
        found = products.reaching(tile, own, columns, needed, errors, nearest=self.best.shape[1])
        return self._bounded(queries, floors, *found, sizes[columns], columns.start)


class _Buffers:
    """Room for a tile, and for what a thread finds in it."""

    def __init__(self, size: int) -> None:
        self.products, self.values = np.empty(size, np.float32), np.empty(size, np.float32)
        self.rows, self.columns = np.empty(size, np.int32), np.empty(size, np.int32)


def _below(values: np.ndarray) -> np.ndarray:
    """Return float32 numbers that are smaller."""
    return np.nextafter(values.astype(np.float32), np.float32(-np.inf))


@compiled
def _replace_least(heap, value):  # type: ignore[no-untyped-def]
    """Put a larger value in the place of a heap's least."""
    at = 0
    while 2 * at + 1 < len(heap):
        child = 2 * at + 1
        if child + 1 < len(heap) and heap[child + 1] < heap[child]:
            child += 1
        if value <= heap[child]:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = value


@compiled
def _reaching(tile, needed, best, margins, rows, columns, values):  # type: ignore[no-untyped-def]
    """Write row, column and value of the products that reach what their row needs, and return their number.

    Where only the nearest are wanted, `best` has the largest lower bounds of each row as a heap, the least first, and
    raises what is needed. Products are known up to their row's margin in this tile; in another tile it may be another.
    """
    count, size = 0, best.shape[1]
    for i in range(tile.shape[0]):
        row, margin, least = tile[i], margins[i], needed[i]
        if size:
            least = max(least, best[i, 0] - margin)
        for start in range(0, len(row), _RUN):
            stop = min(start + _RUN, len(row))
            largest = row[start]
            for j in range(start, stop):
                largest = max(largest, row[j])
            if largest >= least:
                for j in range(start, stop):
                    if row[j] >= least:
                        rows[count], columns[count], values[count] = i, j, row[j]
                        count += 1
                        if size and row[j] - margin > best[i, 0]:
                            _replace_least(best[i], row[j] - margin)
                            least = max(needed[i], best[i, 0] - margin)
    return count
