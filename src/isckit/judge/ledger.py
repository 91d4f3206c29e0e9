"""The ledger of submissions: what was handed in, when, and what the leaderboard said of it.

Source: rule 5.10 of the competition: 3 submissions a track in phase 2; no limit of phase 1 is documented.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from isckit.runs.artifacts import file_digest, read_json, receipt_path, write_receipt, write_text
from isckit.runs.workspace import SCORE, Workspace
from isckit.types import BadInput, MissingInput, RuleViolation


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time look at a chain and add to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def append(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Add a line, with its number and the digest of the line before, and return it. Call it while `locked`.

    Raises:
        BadInput: the chain is broken already.
        StorageFull: no space left; nothing was changed.
    """
    faults = chain_faults(path)
    if faults:
        raise BadInput(
            seen=f"{path} is broken: {'; '.join(faults)}",
            allowed="the file as the kit wrote it",
            remedy="put it back from a copy; nothing was added",
        )
    lines = _lines(path)
    entry = dict(values) | {"number": len(lines) + 1, "previous": _digest(lines[-1]) if lines else ""}
    lines.append(json.dumps(entry, sort_keys=True))
    write_text(path, "\n".join(lines) + "\n")
    write_receipt(path, made_from={}, facts={"lines": len(lines), "last": _digest(lines[-1])})
    return entry


def read_chain(path: Path) -> list[dict[str, Any]]:
    """The lines of a chain, in order; none where there is no file yet.

    Raises:
        BadInput: lines that are no entries; they are named.
    """
    entries, unreadable = [], []
    for number, line in enumerate(_lines(path), start=1):
        try:
            entry = json.loads(line)
            assert isinstance(entry["number"], int) and isinstance(entry["previous"], str)
            entries.append(entry)
        except (ValueError, KeyError, TypeError, AssertionError):
            unreadable.append(number)
    if unreadable:
        raise BadInput(
            seen=f"{path}: no entries are in line {', '.join(map(str, unreadable[:10]))}",
            allowed="one JSON object a line, as the kit wrote it",
            remedy="put the file back from a copy",
        )
    return entries


def chain_faults(path: Path) -> list[str]:
    """What is wrong with a chain, in words: entries that were removed, edited, moved or written twice.

    Raises:
        BadInput: lines that are no entries.
    """
    entries, end = read_chain(path), _end(path)
    if end is None:
        gone = f"no {receipt_path(path).name} of the kit, so that entries may be missing at the end"
        return [gone] if entries else []
    numbers = [entry["number"] for entry in entries]
    whole = range(1, max(len(numbers), end["lines"]) + 1)
    faults = [f"entry {number} was removed" for number in whole if number not in numbers]
    faults += [f"entry {n} is there {numbers.count(n)} times" for n in sorted(set(numbers)) if numbers.count(n) > 1]
    faults += [f"entry {number} is none of {len(whole)}" for number in numbers if number not in whole]
    if numbers != sorted(numbers):
        faults.append(f"entries were moved: they stand as {', '.join(map(str, numbers))}")
    claims = {entry["number"] - 1: entry["previous"] for entry in entries} | {end["lines"]: end["last"]}
    digests = {entry["number"]: _digest(line) for entry, line in zip(entries, _lines(path), strict=True)}
    return faults + [
        f"entry {number} was edited" for number, digest in digests.items() if claims.get(number, digest) != digest
    ]


def _end(path: Path) -> dict[str, Any] | None:
    """Count and last digest by the receipt, which is a line behind where writing was interrupted between both files."""
    receipt = read_json(receipt_path(path)) if receipt_path(path).is_file() else {}
    facts = receipt.get("facts") if isinstance(receipt, dict) else None
    known = isinstance(facts, dict) and isinstance(facts.get("lines"), int) and isinstance(facts.get("last"), str)
    return facts if known else None


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _digest(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()


PHASE_2_LIMIT = 3
"""Submissions a track may hand in during phase 2."""
Track = Literal["descriptor", "matching"]
TRACKS: tuple[Track, ...] = get_args(Track)
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Entry:
    """One line: a hand-in, or what the leaderboard said later of one.

    Attributes:
        number: from 1.
        of: number of the hand-in that this line reports on; None for a hand-in.
        time: UTC, of this machine's clock.
        phase, track, name: the submission.
        sha256, bytes: of the file handed in.
        reported, recall: uAP and Recall@P90, as the leaderboard said.
        note: anything.
        previous: sha256 of the line before; empty in the first.
    """

    number: int = 0
    of: int | None = None
    time: str
    phase: Literal[1, 2]
    track: Track
    name: str
    sha256: str
    bytes: int
    reported: Share | None = None
    recall: Share | None = None
    note: str = ""
    previous: str = ""


def record(
    workspace: Workspace,
    *,
    phase: int,
    name: str,
    track: str,
    reported: float | None = None,
    recall: float | None = None,
    note: str = "",
) -> Entry:
    """Write down that a file is handed in, with its digest as it stands.

    Raises:
        MissingInput: there is no such file.
        BadInput: another track, a score outside of 0 to 1, a ledger that was tampered with.
        RuleViolation: the track has had its hand-ins of phase 2.
    """
    path = submitted(workspace, phase, name, track=track)
    if not path.is_file():
        raise MissingInput(seen=f"no {path}", allowed="a submission file", remedy=f"write it with: isckit {track}")
    values = {"phase": phase, "track": track, "name": name, "sha256": file_digest(path), "bytes": path.stat().st_size}
    said = {"reported": reported, "recall": recall, "note": note}
    with locked(workspace.ledger):
        used = [e.number for e in hand_ins(entries(workspace.ledger)) if (e.phase, e.track) == (2, track)]
        if phase == 2 and len(used) >= PHASE_2_LIMIT:
            raise RuleViolation(
                seen=f"hand-in {len(used) + 1} of the {track} track in phase 2, after entries {_listed(used)}",
                allowed=f"{PHASE_2_LIMIT} hand-ins a track in phase 2",
                remedy="do not hand it in",
            )
        return _append(workspace.ledger, values | said)


def report(
    workspace: Workspace, number: int, *, reported: float | None = None, recall: float | None = None, note: str = ""
) -> Entry:
    """Write down, as a new line, what the leaderboard said of a hand-in.

    Raises:
        BadInput: there is no hand-in of that number, a score outside of 0 to 1, a ledger that was tampered with.
    """
    with locked(workspace.ledger):
        known = {entry.number: entry for entry in hand_ins(entries(workspace.ledger))}
        if number not in known:
            raise BadInput(
                seen=f"hand-in {number}",
                allowed=_listed(known) or "no hand-in is recorded yet",
                remedy="see them with: isckit ledger show",
            )
        said = {"reported": reported, "recall": recall, "note": note or None}
        news = {key: value for key, value in said.items() if value is not None}
        return _append(workspace.ledger, dataclasses.asdict(known[number]) | {"of": number} | news)


def submitted(workspace: Workspace, phase: int, name: str, *, track: str) -> Path:
    """Where the file of a track lies.

    Raises:
        BadInput: it is no track.
    """
    if track not in TRACKS:
        raise BadInput(seen=f"track {track}", allowed=" or ".join(TRACKS), remedy="choose one of them")
    return workspace.descriptors(phase, name) if track == "descriptor" else workspace.matches(phase, name)


def entries(path: Path) -> list[Entry]:
    """All lines of a ledger, in order; none where there is no file yet. `verify` says whether they are all.

    Raises:
        BadInput: lines that are no entries.
    """
    return [_entry(values, path) for values in read_chain(path)]


def verify(path: Path) -> list[str]:
    """What is wrong with a ledger, in words: entries that were removed, edited or moved.

    Raises:
        BadInput: lines that are no entries.
    """
    entries(path)
    return chain_faults(path)


def hand_ins(lines: list[Entry]) -> list[Entry]:
    """The hand-ins among the lines of a ledger, each with the score and note that came last."""
    found: dict[int, Entry] = {}
    for entry in lines:
        if entry.of is None:
            found[entry.number] = entry
        elif entry.of in found:
            found[entry.of] = dataclasses.replace(
                found[entry.of], reported=entry.reported, recall=entry.recall, note=entry.note
            )
    return list(found.values())


def table(workspace: Workspace) -> str:
    """The hand-ins as lines of text: local uAP and Recall@P90 beside the reported ones; "-" where unknown.

    A local score counts only where it is that of the very file handed in.
    """
    handed = hand_ins(entries(workspace.ledger))
    head = ("no.", "time", "phase", "track", "name", "sha256", "uAP", "reported", "R@P90", "reported", "note")
    rows = [head, *(_row(workspace, entry) for entry in handed)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    used = {track: sum((e.phase, e.track) == (2, track) for e in handed) for track in TRACKS}
    spent = ", ".join(f"{track} {n} of {PHASE_2_LIMIT}" for track, n in used.items())
    return "\n".join([*lines, f"phase 2: {spent}; phase 1: no limit is documented"])


def _row(workspace: Workspace, entry: Entry) -> tuple[str, ...]:
    file = submitted(workspace, entry.phase, entry.name, track=entry.track)
    scores = file.with_name(SCORE)
    score = read_json(scores).get(entry.track, {}) if scores.is_file() else {}
    if score.get("inputs", {}).get(file.name) != entry.sha256:
        score = {}
    figures = (score.get("average_precision"), entry.reported, score.get("recall_at_p90"), entry.recall)
    shown = ("-" if figure is None else f"{figure:.4f}" for figure in figures)
    who = (str(entry.number), entry.time, str(entry.phase), entry.track, entry.name, entry.sha256[:12])
    return (*who, *shown, entry.note)


def _append(path: Path, values: dict[str, Any]) -> Entry:
    now = {"time": datetime.now(UTC).isoformat(timespec="seconds")}
    return _entry(append(path, dataclasses.asdict(_entry(values | now, path))), path)


def _entry(values: dict[str, Any], path: Path) -> Entry:
    try:
        return TypeAdapter(Entry).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(
            seen=f"{path}, entry {values.get('number', 'to be written')}: {'.'.join(map(str, first['loc']))} = "
            f"{first.get('input')!r}: {first['msg']}",
            allowed="an entry of this kit's ledger; scores from 0 to 1",
            remedy="correct the value, or put the file back from a copy",
        ) from None


def _listed(numbers: Any) -> str:
    return ", ".join(map(str, numbers))
