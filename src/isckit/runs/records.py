"""The records of a run, as JSON: what each holds. Anybody may have written one, so that it is read by its schema."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from isckit.types import BadInput, MissingInput

MOST_BYTES = 1 << 28
"""Of a record; a manifest of a large run has 100 kB."""


RoleName = Literal["train", "reference", "query", "external"]


class Record(BaseModel):
    """Values that stand there, and may have others beside them."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, defer_build=True)


class Cost(Record):
    """Costs of a step."""

    seconds: float = 0.0
    images: int = 0
    images_per_second: float = 0.0
    pairs_per_second: float = 0.0
    peak_memory_bytes: float = 0.0
    energy_joules: float = 0.0


class Facts(Record):
    """Facts on a step; a receipt may tell more."""

    complete: bool = True
    images: int = 0
    ids: str = ""
    role: str = ""
    fitted_on: str = ""
    source: str = ""
    replaced: dict[str, str | dict[str, str]] = {}
    sha256: str = ""
    reference_rows: str | None = None
    device: str | None = None
    threads: int | None = None
    cost: Cost = Cost()


class Receipt(Record):
    """Origin of an artifact, and facts on how it was made."""

    made_from: dict[str, Any]
    facts: Facts
    packages: dict[str, str]


class FileRecord(Record):
    """A file in a manifest."""

    sha256: str
    bytes: int
    receipt: Receipt | None = None
    parts: dict[str, str] | None = None


class Code(Record):
    """The kit's own files."""

    digest: str
    files: dict[str, str]


class Costs(Record):
    """All steps, and their sum."""

    steps: list[dict[str, Any]]
    total: Cost


class ImageRecord(Record):
    """An image set in a manifest."""

    digest: str = ""
    listing: str = ""
    absent: str = ""


class Manifest(Record):
    """A submission's manifest; see `judge.audit.manifest`."""

    format: int
    name: str
    phase: int
    recipe: dict[str, Any]
    recipe_digest: str
    seeds: dict[str, Any]
    code: Code
    packages: dict[str, str]
    machine: dict[str, Any]
    devices: dict[str, dict[str, Any]]
    checkpoint: dict[str, FileRecord]
    artifacts: dict[str, FileRecord]
    embeddings: dict[str, Receipt]
    costs: Costs
    results: dict[str, Any]
    images: dict[str, ImageRecord]
    seal: str


class Freeze(Record):
    """The state that phase 1 deposited; see `judge.freeze`."""

    code: dict[str, str]
    artifacts: dict[str, str | None]
    recipe: dict[str, Any]
    recipe_digest: str
    environment: dict[str, str]
    reference_rows: str | None
    time: str
    seal: str


class Score(Record):
    """The figures of one track."""

    average_precision: float = 0.0
    recall_at_p90: float = 0.0
    inputs: dict[str, str] = {}


Scores = dict[str, Score]
"""By track."""


class Consumed(Record):
    """Images of a role that an epoch consumed; "ids" is the digest of the distinct ids drawn."""

    augmented: bool
    draws: int
    images: int
    ids: str
    listed: list[str] = []


class Epoch(Record):
    """A line of a training log."""

    epoch: int
    seconds: float = 0.0
    consumed: dict[RoleName, Consumed]
    images_per_second: float = 0.0
    pairs_per_second: float = 0.0


class Witnessed(Record):
    """An item that a training loader yielded, see `data.training.Witness`."""

    epoch: int
    role: RoleName
    ids: list[str]
    side: int
    sha256: str


class Threshold(Record):
    """A fitted threshold."""

    threshold: float


def read_json(path: Path, kind: Any = Any) -> Any:
    """Read a record.

    Args:
        path: of the JSON file.
        kind: of record; what else stands in it is left as it is.

    Raises:
        MissingInput: there is no such file.
        BadInput: it is too large, no JSON, or of another shape.
    """
    if not path.is_file():
        raise MissingInput(seen=f"no file {path}", allowed="an existing JSON file", remedy="run the step that makes it")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"{path.stat().st_size:,} bytes, more than {MOST_BYTES:,}")
        return checked(json.loads(path.read_bytes()), kind)
    except (ValueError, RecursionError) as error:
        raise BadInput(
            seen=f"{path} is no record that this kit writes: {_reason(error)}",
            allowed="a file written by this kit",
            remedy=f"put it back from a copy, or delete {path} and run the step that makes it again",
        ) from error


def read_lines(path: Path, kind: Any, *, remedy: str) -> list[Any]:
    """Read a file of a record a line.

    Raises:
        MissingInput: there is no such file.
        BadInput: it is too large, or a line is no JSON, or of another shape.
    """
    if not path.is_file():
        raise MissingInput(seen=f"no file {path}", allowed="an existing file of JSON lines", remedy=remedy)
    found: list[Any] = []
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"{path.stat().st_size:,} bytes, more than {MOST_BYTES:,}")
        for line in path.read_bytes().splitlines():
            found.append(checked(json.loads(line), kind))
    except (ValueError, RecursionError) as error:
        raise BadInput(
            seen=f"{path}, line {len(found) + 1} is none that this kit writes: {_reason(error)}",
            allowed="one JSON object a line, as the kit wrote it",
            remedy=remedy,
        ) from error
    return found


def checked(value: Any, kind: Any) -> Any:
    """Return a value of a kind of record. Raises ValidationError, a ValueError, where it is of another."""
    if kind is not Any:
        _adapter(kind).validate_python(value)
    return value


@cache
def _adapter(kind: Any) -> TypeAdapter:
    return TypeAdapter(kind)


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "values within values without end"
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    more = f", and {error.error_count() - 1} more" if error.error_count() > 1 else ""
    return f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}{more}"
