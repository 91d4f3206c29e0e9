"""Scores of candidate pairs by pair networks: each image decoded once a block, each score of its two images alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from isckit import config
from isckit.augment.geometry import square
from isckit.data.image_sets import ImageSet
from isckit.data.images import decode
from isckit.data.loaders import Loader
from isckit.engine.distributed import Process
from isckit.models.pair import PairClassifier
from isckit.runs.artifacts import write_array
from isckit.runs.steps import Advance, Output, Writer, make_shards
from isckit.views.geometry import View, cut

QUERY_BLOCK = 1_024
"""Queries whose views are held at once, and whose scores are written together."""
REFERENCE_CHUNK = 128
"""References decoded and held at once."""


def score_pairs(
    networks: Sequence[PairClassifier],
    queries: ImageSet,
    references: ImageSet,
    asked: np.ndarray,
    *,
    views: tuple[View, ...],
    folder: Path,
    made_from: Mapping[str, Any],
    settings: config.Extract,
    process: Process,
    workers: int,
) -> np.ndarray:
    """Score by every network what is asked: a view of a query against a whole reference.

    Blocks of queries are written down, and an interrupted scoring goes on behind the last one.

    Args:
        networks: in evaluation mode, on the device.
        queries, references: the two image sets.
        asked: (m, 3) int: row of the query, row of the reference, number of the view; by query row.
        views: of queries.
        folder: of the blocks.
        made_from: what decides their freshness.
        settings: batch_images pairs are compared at a time; precision.
        process: this one; several share the blocks.
        workers: image loading processes.

    Returns:
        (m, networks) float32, the probabilities of a copy.

    Raises:
        StaleArtifact: the folder holds scores made from something else.
        BrokenImage: an image that does not decode: none of those that were described.
    """
    starts = np.searchsorted(asked[:, 0], np.arange(0, len(queries) + QUERY_BLOCK, QUERY_BLOCK))
    scorer = _Scorer(networks, queries, references, views, settings, process, workers)

    def work(rows: range, advance: Advance) -> tuple[list[Writer], None]:
        scores = scorer.block(asked[rows.start : rows.stop], advance)
        return [lambda path: write_array(path, scores)], None

    output, parts = (
        Output(folder, made_from, ".npy"),
        list(itertools.starmap(range, itertools.pairwise(starts.tolist()))),
    )
    facts = {"images": len(asked)}
    make_shards(
        [output], parts, work, title="compare pairs", unit="pair", facts=lambda _: facts, executor=process.executor
    )
    blocks = [np.load(output.shard(number), allow_pickle=False) for number in range(len(parts))]
    return np.concatenate([np.empty((0, len(networks)), np.float32), *blocks])


class _Scorer:
    """Scores blocks of pairs."""

    def __init__(
        self,
        networks: Sequence[PairClassifier],
        queries: ImageSet,
        references: ImageSet,
        views: tuple[View, ...],
        settings: config.Extract,
        process: Process,
        workers: int,
    ) -> None:
        self.networks, self.queries, self.references, self.views = networks, queries, references, views
        self.settings, self.process, self.workers = settings, process, workers
        self.canvas = max(network.settings.canvas for network in networks)

    @torch.inference_mode()
    def block(self, asked: np.ndarray, advance: Advance) -> np.ndarray:
        """Return (m, networks) float32 for (m, 3) asked rows of a few queries."""
        scores = np.empty((len(asked), len(self.networks)), np.float32)
        shown, slot = np.unique(asked[:, [0, 2]], axis=0, return_inverse=True)
        views = self._queries(shown)
        order = np.argsort(asked[:, 1], kind="stable")
        rows, number = np.unique(asked[order, 1], return_inverse=True)
        ends = np.searchsorted(number, np.arange(REFERENCE_CHUNK, len(rows) + REFERENCE_CHUNK, REFERENCE_CHUNK))
        begun = 0
        for images, end in zip(self._canvases(self.references, rows), ends.tolist(), strict=True):
            chosen = order[begun:end]
            at = torch.from_numpy(number[begun:end] % REFERENCE_CHUNK), torch.from_numpy(slot[chosen])
            for column, (network, shown_by) in enumerate(zip(self.networks, views, strict=True)):
                with self._precision():
                    described = network.describe(images)
                scores[chosen, column] = self._compared(network, described, shown_by, at)
            advance(end - begun)
            begun = end
        return scores

    def _compared(
        self,
        network: PairClassifier,
        references: torch.Tensor,
        queries: torch.Tensor,
        at: tuple[torch.Tensor, torch.Tensor],
    ) -> np.ndarray:
        parts = []
        for left, right in zip(*(rows.to(self.process.device).split(self._pairs) for rows in at), strict=True):
            with self._precision():
                logits = network.compare(references[left], queries[right])
            parts.append(logits.float().sigmoid().cpu().numpy())
        return np.concatenate(parts)

    @property
    def _pairs(self) -> int:
        return self.settings.batch_images

    def _queries(self, shown: np.ndarray) -> list[torch.Tensor]:
        """Return described (query row, view) of each network, in the order of `shown`, which is by query row."""
        rows, number = np.unique(shown[:, 0], return_inverse=True)
        parts: list[list[torch.Tensor]] = [[] for _ in self.networks]
        order: list[np.ndarray] = []
        for start, images in zip(range(0, len(rows), REFERENCE_CHUNK), self._canvases(self.queries, rows), strict=True):
            inside = (number >= start) & (number < start + REFERENCE_CHUNK)
            for view in np.unique(shown[inside, 1]).tolist():
                chosen = np.flatnonzero(inside & (shown[:, 1] == view))
                pixels = cut(images[torch.from_numpy(number[chosen] - start).to(images.device)], self.views[view])
                order.append(chosen)
                for part, network in zip(parts, self.networks, strict=True):
                    with self._precision():
                        part.append(network.describe(pixels))
        back = torch.from_numpy(np.argsort(np.concatenate(order))) if order else torch.zeros(0, dtype=torch.int64)
        return [torch.cat(part)[back.to(self.process.device)] if part else torch.empty(0) for part in parts]

    def _canvases(self, images: ImageSet, rows: np.ndarray) -> Iterator[torch.Tensor]:
        """Return batches (B, 3, C, C) uint8 on the device."""
        loader = Loader(
            _Squares(images, rows, self.canvas),
            batch_size=REFERENCE_CHUNK,
            workers=self.workers,
            device=self.process.device,
        )
        return (batch.to(self.process.device, non_blocking=True) for batch in loader)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.process.device.type, torch.bfloat16, enabled=self.settings.bf16)


class _Squares(Dataset):
    """Images as squares, aspect ignored."""

    def __init__(self, images: ImageSet, rows: np.ndarray, side: int) -> None:
        self.images, self.rows, self.side = images, rows, side

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> torch.Tensor:
        row = int(self.rows[position])
        image = decode(self.images.read(row), name=str(self.images.ids[row]))
        return torch.from_numpy(square(image, self.side).transpose(2, 0, 1).copy())
