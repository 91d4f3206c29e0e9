"""One picture that shows what a mini set holds: references beside their copies of both phases, and distractors."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from isckit.augment.pipelines import contact_sheet
from isckit.data.images import decode
from isckit.runs.artifacts import atomic
from isckit.runs.workspace import PHASES, query_set
from isckit.types import MissingInput

_TILE, _GAP, _CAPTION, _TITLE = 168, 12, 22, 40
_INK, _PAPER = (40, 44, 52), (250, 249, 246)

Query = tuple[str, int, str, str]
"""Id, phase, ops joined by arrows, reference id or ""."""


def write_sheet(folder: Path, path: Path, *, columns: int = 4, rows: int = 2) -> Path:
    """Write a PNG of rows * columns pairs (reference, edited copy) a phase, and a row of distractors of each phase.

    Args:
        folder: a set made by `write_mini`.
        path: the PNG.
        columns, rows: pairs side by side, and rows of them.

    Raises:
        MissingInput: the folder has no log of edits.
    """
    queries = _queries(folder)
    width = columns * (2 * _TILE + 4 + _GAP) + _GAP
    parts = []
    for phase in PHASES:
        copies = _spread([q for q in queries if q[1] == phase and q[3]], rows * columns)
        parts.append(_title(f"Phase {phase}: reference, and the query that is an edited copy of it", width))
        pairs = [_captioned([_reference(folder, q), _query(folder, q)], q) for q in copies]
        parts += _grid(pairs, columns, width)
    parts.append(_title("Distractors: edited pictures that are copies of no reference (phase 1, phase 2)", width))
    for phase in PHASES:
        lone = _spread([q for q in queries if q[1] == phase and not q[3]], 2 * columns)
        parts += _grid([_captioned([_query(folder, q)], q) for q in lone], 2 * columns, width)
    with atomic(path) as temporary:
        Image.fromarray(np.vstack(parts)).save(temporary, format="PNG")
    return path


def _queries(folder: Path) -> list[Query]:
    log = folder / "list_files" / "edits.csv"
    if not log.is_file():
        raise MissingInput(
            seen=f"no file {log}",
            allowed="a folder written by isckit data synthetic",
            remedy="make one with: isckit data synthetic --out FOLDER",
        )
    steps: dict[str, list[dict[str, str]]] = {}
    with log.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            steps.setdefault(row["query_id"], []).append(row)
    return [
        (query, int(own[0]["phase"]), " > ".join(step["op"] for step in own), own[0]["reference_id"])
        for query, own in steps.items()
    ]


def _spread(queries: list[Query], count: int) -> list[Query]:
    """So many queries, evenly from the list."""
    return [queries[k] for k in np.linspace(0, len(queries) - 1, min(count, len(queries))).astype(int)]


def _reference(folder: Path, query: Query) -> np.ndarray:
    return _tile(folder / "images" / "references" / f"{query[3]}.jpg")


def _query(folder: Path, query: Query) -> np.ndarray:
    return _tile(folder / "images" / query_set(query[1]) / f"{query[0]}.jpg")


def _tile(path: Path) -> np.ndarray:
    """The image on a square of paper."""
    image = np.asarray(Image.open(path).convert("RGB"))
    scale = _TILE / max(image.shape[:2])
    height, width = (max(1, round(n * scale)) for n in image.shape[:2])
    tile = np.full((_TILE, _TILE, 3), _PAPER, np.uint8)
    top, left = (_TILE - height) // 2, (_TILE - width) // 2
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    tile[top : top + height, left : left + width] = small
    return tile


def _captioned(tiles: list[np.ndarray], query: Query) -> np.ndarray:
    """Tiles side by side, the ops below."""
    gap = np.full((_TILE, 4, 3), _PAPER, np.uint8)
    strip = np.hstack([piece for tile in tiles for piece in (tile, gap)][:-1])
    return np.vstack([strip, _written(query[2], strip.shape[1], _CAPTION, 11)])


def _title(text: str, width: int) -> np.ndarray:
    return _written(text, width, _TITLE, 18, left=_GAP)


def _written(text: str, width: int, height: int, size: int, left: int = 0) -> np.ndarray:
    canvas = Image.new("RGB", (width, height), _PAPER)
    font, pen = ImageFont.load_default(size), ImageDraw.Draw(canvas)
    while pen.textlength(text, font) > width - left:
        text = text.rstrip(".")[:-1] + "..."
    pen.text((left, height / 2), text, _INK, font, anchor="lm")
    return np.asarray(canvas)


def _grid(cells: list[np.ndarray], columns: int, width: int) -> list[np.ndarray]:
    """Rows of cells of one size, on paper of the sheet's width, each with a gap below."""
    rows = []
    for start in range(0, len(cells), columns):
        row = np.full((cells[0].shape[0] + _GAP // 2, width, 3), _PAPER, np.uint8)
        for k, cell in enumerate(cells[start : start + columns]):
            left = _GAP + k * (width - _GAP) // columns
            row[: cell.shape[0], left : left + cell.shape[1]] = cell
        rows.append(row)
    return rows


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
