"""What a training loader yields, written down item by item, for the referee to read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Witness:
    """Appends one line an item to a file; loader processes may share it.

    Attributes:
        path: of the file.
        epoch: number of the pass over the images.
    """

    path: Path
    epoch: int

    def note(self, role: str, ids: Sequence[str], pixels: np.ndarray) -> None:
        """Write down an item: role and ids of the images it is made from, the first its own; side and digest.

        `pixels` are (..., side, side, 3) uint8.
        """
        digest = hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()
        item = {"epoch": self.epoch, "role": role, "ids": list(ids), "side": pixels.shape[-2], "sha256": digest}
        line = json.dumps(item) + "\n"
        # One write in append mode, so that lines of several processes do not mix.
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)


def read_witness(path: Path) -> list[dict]:
    """The items written down so far: {"epoch", "role", "ids", "side", "sha256"}."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
