"""The ledger of hand-ins: which file was handed in, when, and what the leaderboard said of it. A declaration.

Its owner can rewrite it. Source: rule 5.10 of the competition: 3 hand-ins a track in phase 2; no limit of phase 1 is
documented.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from isckit.runs.artifacts import file_digest, read_json, write_text
from isckit.runs.workspace import SCORE, Workspace
from isckit.types import BadInput, MissingInput, RuleViolation

PHASE_2_LIMIT = 3
"""Hand-ins a track may have in phase 2."""
Track = Literal["descriptor", "matching"]
TRACKS: tuple[Track, ...] = get_args(Track)
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Entry:
    """One line: a hand-in, or what the leaderboard said later of one.

    Attributes:
        number: of the line, from 1.
        of: number of the hand-in that this line reports on; None for a hand-in.
        time: UTC, of this machine's clock.
        phase, track, name: the submission.
        sha256, bytes: of the file handed in.
        reported, recall: uAP and Recall@P90, as the leaderboard said.
        note: anything.
    """

    number: int
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


_ENTRY = TypeAdapter(Entry)


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
    """Write down that a file is handed in, with its digest as it stands, and return the entry.

    Raises:
        MissingInput: there is no such file.
        BadInput: another track, a score outside of 0 to 1, a line of the ledger that is no entry.
        RuleViolation: the track has had its hand-ins of phase 2.
    """
    path = submitted(workspace, phase, name, track=track)
    if not path.is_file():
        raise MissingInput(seen=f"no {path}", allowed="a submission file", remedy=f"write it with: isckit {track}")
    values = {"phase": phase, "track": track, "name": name, "sha256": file_digest(path), "bytes": path.stat().st_size}
    with _locked(workspace.ledger) as lines:
        used = [str(entry.number) for entry in hand_ins(lines) if (entry.phase, entry.track) == (2, track)]
        if phase == 2 and len(used) >= PHASE_2_LIMIT:
            raise RuleViolation(
                seen=f"hand-in {len(used) + 1} of the {track} track in phase 2, after entries {', '.join(used)}",
                allowed=f"{PHASE_2_LIMIT} hand-ins a track in phase 2",
                remedy="do not hand it in",
            )
        return _append(workspace.ledger, lines, values | {"reported": reported, "recall": recall, "note": note})


def report(
    workspace: Workspace, number: int, *, reported: float | None = None, recall: float | None = None, note: str = ""
) -> Entry:
    """Write down, as a new line, what the leaderboard said of a hand-in, and return the entry.

    Raises:
        BadInput: there is no hand-in of that number, a score outside of 0 to 1, a line of the ledger that is no entry.
    """
    with _locked(workspace.ledger) as lines:
        known = {entry.number: entry for entry in hand_ins(lines)}
        if number not in known:
            allowed = ", ".join(map(str, known)) or "no hand-in is recorded yet"
            raise BadInput(seen=f"hand-in {number}", allowed=allowed, remedy="see them with: isckit ledger show")
        said = {"of": number, "reported": reported, "recall": recall, "note": note or None}
        news = {key: value for key, value in said.items() if value is not None}
        return _append(workspace.ledger, lines, dataclasses.asdict(known[number]) | news)


def entries(path: Path) -> list[Entry]:
    """Return all lines of a ledger, in order; none where there is no file yet.

    Raises:
        BadInput: a line is no entry, or its number is not its place.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [_entry(line, path, number) for number, line in enumerate(lines, start=1)]


def submitted(workspace: Workspace, phase: int, name: str, *, track: str) -> Path:
    """Return where the file of a track lies.

    Raises:
        BadInput: it is no track.
    """
    if track not in TRACKS:
        raise BadInput(seen=f"track {track}", allowed=" or ".join(TRACKS), remedy="choose one of them")
    return workspace.descriptors(phase, name) if track == "descriptor" else workspace.matches(phase, name)


def hand_ins(lines: list[Entry]) -> list[Entry]:
    """Return the hand-ins among the lines of a ledger, each with the score and note that came last."""
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
    """Return the hand-ins as lines of text: local uAP and Recall@P90 beside the reported ones; "-" where unknown.

    A local score counts only where it is that of the very file handed in.
    """
    handed = hand_ins(entries(workspace.ledger))
    head = ("no.", "time", "phase", "track", "name", "sha256", "uAP", "reported", "R@P90", "reported", "note")
    rows = [head, *(_row(workspace, entry) for entry in handed)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    used = {track: sum((entry.phase, entry.track) == (2, track) for entry in handed) for track in TRACKS}
    spent = ", ".join(f"{track} {n} of {PHASE_2_LIMIT}" for track, n in used.items())
    return "\n".join([*lines, f"phase 2: {spent}; phase 1: no limit is documented"])


def _row(workspace: Workspace, entry: Entry) -> tuple[str, ...]:
    file = submitted(workspace, entry.phase, entry.name, track=entry.track)
    scores = file.with_name(SCORE)
    score = read_json(scores).get(entry.track, {}) if scores.is_file() else {}
    local = score if score.get("inputs", {}).get(file.name) == entry.sha256 else {}
    figures = (local.get("average_precision"), entry.reported, local.get("recall_at_p90"), entry.recall)
    shown = ("-" if figure is None else f"{figure:.4f}" for figure in figures)
    who = (str(entry.number), entry.time, str(entry.phase), entry.track, entry.name, entry.sha256[:12])
    return (*who, *shown, entry.note)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[list[Entry]]:
    """Give the entries of a ledger, to which no other process adds in the block; a killed process holds no lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield entries(path)
    finally:
        os.close(folder)


def _append(path: Path, lines: list[Entry], values: dict[str, Any]) -> Entry:
    added = {"number": len(lines) + 1, "time": datetime.now(UTC).isoformat(timespec="seconds")}
    entry = _entry(json.dumps(values | added), path, len(lines) + 1)
    write_text(path, "".join(json.dumps(dataclasses.asdict(line), sort_keys=True) + "\n" for line in [*lines, entry]))
    return entry


def _entry(line: str, path: Path, number: int) -> Entry:
    """The entry of a line, which is to have the number of its place."""
    try:
        entry = _ENTRY.validate_json(line)
        fault = "" if entry.number == number else f"number = {entry.number}"
    except ValidationError as error:
        first = error.errors()[0]
        fault = f"{'.'.join(map(str, first['loc'])) or 'JSON'} = {first['input']!r:.80}: {first['msg']}"
    if fault:
        raise BadInput(
            seen=f"{path}, line {number}: {fault}",
            allowed="an entry a line, numbered from 1; scores from 0 to 1",
            remedy="correct the value, or put the file back from a copy",
        )
    return entry
