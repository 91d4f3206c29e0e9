"""Rule 5.10, submission counts: what the ledger says was handed in, and whether it is still what lies there."""

from __future__ import annotations

from isckit.judge.ledger import PHASE_2_LIMIT, TRACKS, Entry, entries, hand_ins, submitted, verify
from isckit.judge.rules.finding import Case, Finding, judged
from isckit.storage.artifacts import file_digest


def submission_count(case: Case) -> Finding:
    """At most three hand-ins a track in phase 2, none of them removed, and the files as they were last handed in."""
    path = case.workspace.ledger
    problems, handed = verify(path), hand_ins(entries(path))
    if not handed and not problems:
        return Finding("passed", "declared", "no hand-in recorded")
    for track in TRACKS:
        late = [entry.number for entry in handed if (entry.phase, entry.track) == (2, track)]
        if len(late) > PHASE_2_LIMIT:
            numbers = ", ".join(map(str, late))
            problems.append(
                f"{len(late)} phase-2 hand-ins of the {track} track (entries {numbers}), {PHASE_2_LIMIT} are allowed"
            )
        mine = [entry for entry in handed if (entry.phase, entry.track, entry.name) == (case.phase, track, case.name)]
        problems += _changed(case, mine[-1]) if mine else []
    first = sum(entry.phase == 1 for entry in handed)
    examined = (
        f"{path.name}: {first} hand-ins in phase 1, where no limit is documented, {len(handed) - first} in phase 2"
    )
    return judged(problems, "declared", examined)


def _changed(case: Case, entry: Entry) -> list[str]:
    """Whether the file of the last hand-in is another one now."""
    path = submitted(case.workspace, case.phase, case.name, track=entry.track)
    if not path.is_file():
        return [f"{path.name} is gone, handed in as entry {entry.number}"]
    if (now := file_digest(path)) != entry.sha256:
        return [f"{path.name} was changed after entry {entry.number}: {entry.sha256[:12]} there, {now[:12]} now"]
    return []
