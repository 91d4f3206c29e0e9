"""Rates that a plan's times rest on: given, or measured on this machine in about a minute."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Rates:
    """What a core, a GPU and a disk do a second.

    The defaults of a core were measured on one with AVX2; those of a GPU are 40 % of the dense bf16 operations that
    NVIDIA states for an H100 SXM (989e12) for networks, and of its tf32 ones (495e12) for products.

    Attributes:
        products: operations of matrix products, of a core.
        network: operations of a network, of a core.
        decoding: photographs of a megapixel, of a core.
        points: photographs whose local features are found, of a core.
        edits: views that training makes, of a core.
        proposals: photographs searched for regions, of a core.
        entries: codes of 64 bits that are compared, of a core.
        verified: pairs of images verified by both sides, of a core.
        disk: bytes written.
        gpu_network, gpu_products: operations of a GPU.
    """

    products: float = 6e10
    network: float = 2.5e10
    decoding: float = 90.0
    points: float = 25.0
    edits: float = 40.0
    proposals: float = 0.7
    entries: float = 6e8
    verified: float = 220.0
    disk: float = 5e8
    gpu_network: float = 4e14
    gpu_products: float = 2e14


def measure() -> Rates:
    """Return the rates of this machine, one core of it; those of GPUs, of edits and of proposals stay as given."""
    import cv2
    from threadpoolctl import threadpool_limits

    from isckit import config
    from isckit.data.images import decode
    from isckit.engine.operations import network_operations
    from isckit.features.sift import RootSift
    from isckit.matching.local.inverted import Part, matching_entries
    from isckit.matching.local.verify import Shown
    from isckit.synthetic.procedural import picture

    rng = np.random.default_rng(0)
    cv2.setNumThreads(1)
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        left, right = rng.random((512, 256), np.float32), rng.random((4_096, 256), np.float32)
        photo = picture(0, size=(768, 1_024))
        encoded = cv2.imencode(".jpg", photo[..., ::-1])[1].tobytes()
        sift = RootSift(config.Keypoints())
        (points,), (other,) = sift.detect([photo]), sift.detect([picture(1, size=(768, 1_024))])
        shown = Shown([points, points])
        codes = rng.integers(0, 2**63, 1 << 22, dtype=np.uint64)
        part = Part(0, np.array([0, len(codes)]), codes, codes, codes, codes)
        asked = np.zeros((8, 1), np.int32), codes[:8, None]
        block, path = bytes(1 << 27), Path(folder) / "block"
        return Rates(
            products=2 * 512 * 4_096 * 256 * _rate(lambda: left @ right.T),
            network=network_operations(_rate),
            decoding=_rate(lambda: decode(encoded, name="")),
            points=_rate(lambda: sift.detect([photo])),
            entries=8 * len(codes) * _rate(lambda: matching_entries(*asked, part, radius=8)),
            verified=_rate(lambda: shown.score(other, config.Verify())),
            disk=len(block) * _rate(lambda: path.write_bytes(block)),
        )


_SECONDS = 4.0
"""For which a rate is measured."""


def _rate(work: Callable[[], object]) -> float:
    """Return how often work is done a second, at best of a few seconds."""
    work()
    best, end = 0.0, time.perf_counter() + _SECONDS
    while (began := time.perf_counter()) < end:
        work()
        best = max(best, 1 / (time.perf_counter() - began))
    return best
