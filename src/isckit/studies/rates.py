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
    """The work that a core, a GPU and a disk do a second.

    The defaults of a core were measured with `isckit plan --measure` on one with AVX2; that of entries with
    `benchmarks/contest_scale.py`, 10,000 references, all that voting takes included; edits and proposals are assumed.
    Those of a GPU are 40 % of the dense bf16 operations that NVIDIA states for an H100 SXM (989e12) for networks, and
    of its tf32 ones (495e12) for products: none was at hand.

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

    products: float = 7.5e10
    network: float = 3.4e10
    decoding: float = 220.0
    points: float = 16.0
    edits: float = 40.0
    proposals: float = 0.7
    entries: float = 2.5e8
    verified: float = 220.0
    disk: float = 1e9
    gpu_network: float = 4e14
    gpu_products: float = 2e14


def measure() -> Rates:
    """Return the rates of a core of this machine; those of GPUs, of edits, proposals and entries stay as given."""
    import cv2
    from threadpoolctl import threadpool_limits

    from isckit import config
    from isckit.data.images import decode
    from isckit.engine.operations import network_operations
    from isckit.features.sift import RootSift
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
        block, path = bytes(1 << 27), Path(folder) / "block"
        return Rates(
            products=2 * 512 * 4_096 * 256 * _rate(lambda: left @ right.T),
            network=network_operations(_rate),
            decoding=_rate(lambda: decode(encoded, name="")),
            points=_rate(lambda: sift.detect([photo])),
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
