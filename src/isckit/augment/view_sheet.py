"""One picture that shows what a pipeline does: a photo, and views of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from isckit.augment.pipelines import contact_sheet
from isckit.data.images import decode
from isckit.storage.artifacts import atomic
from isckit.types import MissingInput


def write_view_sheet(
    name: str, image: Path, out: Path, *, rows: int, columns: int, size: int, seed: int, other: Path | None
) -> None:
    """Write a PNG of the photo and rows * columns - 1 views of it.

    Args:
        name: a pipeline, see `pipelines.find`.
        image: the photo's file.
        out: the PNG.
        rows, columns: of the grid.
        size: side of a view in px.
        seed: decides everything random.
        other: file of the photo to join with; None takes the first one upside down and mirrored.

    Raises:
        BadInput: no such pipeline, or a file that does not decode.
        MissingInput: no such file.
    """
    photo = _read(image)
    second = _read(other) if other else np.ascontiguousarray(photo[::-1, ::-1])
    sheet = contact_sheet(photo, name, rows=rows, columns=columns, size=size, seed=seed, other=lambda: second)
    with atomic(out) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")


def _read(path: Path) -> np.ndarray:
    if not path.is_file():
        raise MissingInput(seen=f"no file {path}", allowed="an image file", remedy="give the path of a photo")
    return decode(path.read_bytes(), name=str(path))
