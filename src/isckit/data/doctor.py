"""The doctor: contents of a data folder, its broken or missing images, and the commands that can run on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from isckit.data.containers import some
from isckit.data.ground_truth import DIGITS, PHASE_QUERIES, disc_numbers, read_ground_truth
from isckit.data.images import decode as decode_image
from isckit.data.layouts import ROLES, Disc, ImageSet
from isckit.runs.workspace import PHASES, query_set
from isckit.types import BadInput, KitError

FULL = {"train": 1_000_000, "references": 1_000_000, "queries": PHASE_QUERIES, "final_queries": PHASE_QUERIES}
"""Images of each set of the whole DISC21."""
DECODE = ("none", "sample", "all")
_LETTERS = {"train": "T", "references": "R", "queries": "Q", "final_queries": "Q"}
_CHUNK = 64


@dataclass(frozen=True)
class SetDiagnosis:
    """One image set.

    Attributes:
        count, first, last: its images and the ends of its ids.
        folders, archives: numbers of those that hold it.
        gaps, missing: ranges, and number, of the ids between first and last that are not there.
        decoded: number of images examined.
        broken: (id, reason) of those that do not decode.
    """

    name: str
    count: int
    first: str
    last: str
    folders: int
    archives: int
    gaps: tuple[str, ...]
    missing: int
    decoded: int
    broken: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LabelDiagnosis:
    """One ground truth file against the images at hand; `fault` is set where it cannot be read."""

    phase: int
    path: Path
    fault: str = ""
    labelled: int = 0
    pairs: int = 0
    absent_queries: tuple[str, ...] = ()
    absent_references: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ability:
    """A step that a user may want to run: possible or not, and the reason."""

    name: str
    possible: bool
    reason: str


@dataclass(frozen=True)
class Diagnosis:
    """All findings of the doctor."""

    root: Path
    layout: str
    sets: tuple[SetDiagnosis, ...]
    labels: tuple[LabelDiagnosis, ...]
    abilities: tuple[Ability, ...]
    problems: tuple[str, ...]


def examine(disc: Disc, *, decode: str, sample: int, workers: int) -> Diagnosis:
    """Examine a copy of DISC21. Bad data is reported, never raised.

    Args:
        disc: an opened folder.
        decode: "none", "sample" (`sample` images of each set, evenly spread over its ids) or "all".
        sample: images of each set, for "sample".
        workers: processes that decode; below 2 none is started.

    Raises:
        BadInput: `decode` is none of the three, or `sample` is below 1.
    """
    if decode not in DECODE or sample < 1:
        raise BadInput(
            seen=f"decode {decode!r}, sample {sample}",
            allowed=f"{', '.join(DECODE)}; a sample from 1 up",
            remedy="pass --decode sample --sample 200",
        )
    at_hand = {name: images for name in ROLES if (images := getattr(disc, name)) is not None}
    sizes = {
        name: {"none": 0, "sample": min(sample, len(images)), "all": len(images)}[decode]
        for name, images in at_hand.items()
    }
    sets = tuple(_examine_set(images, decoded=sizes[name], workers=workers) for name, images in at_hand.items())
    labels = tuple(_examine_labels(disc, phase) for phase in PHASES if phase in disc.ground_truth)
    return Diagnosis(disc.root, disc.layout, sets, labels, tuple(_abilities(disc, labels)), disc.problems)


def _examine_set(images: ImageSet, *, decoded: int, workers: int) -> SetDiagnosis:
    letter = _LETTERS[images.name]
    numbers = disc_numbers(images.ids, letter)
    steps = np.diff(numbers)
    gaps = [_range(letter, int(numbers[i]) + 1, int(numbers[i + 1]) - 1) for i in np.flatnonzero(steps > 1)]
    rows = np.unique(np.linspace(0, len(images) - 1, decoded).round().astype(int))
    sources = [images.sources[number] for number in np.unique(images.places["source"])]
    broken = broken_images(images.subset(rows), workers=workers)
    return SetDiagnosis(
        images.name,
        len(images),
        str(images.ids[0]),
        str(images.ids[-1]),
        folders=len({source.path for source in sources if not source.is_archive}),
        archives=len({source.path for source in sources if source.is_archive}),
        gaps=tuple(gaps),
        missing=int((steps - 1).sum()),
        decoded=len(rows),
        broken=tuple(broken),
    )


def _range(letter: str, first: int, last: int) -> str:
    names = [f"{letter}{number:0{DIGITS[letter]}d}" for number in (first, last)]
    return names[0] if first == last else f"{names[0]}..{names[1]}"


def broken_images(images: ImageSet, *, workers: int) -> list[tuple[str, str]]:
    """Return (id, reason) of every image that does not decode, by id; `workers` processes, below 2 in this one."""
    chunks = (images.subset(np.arange(at, min(at + _CHUNK, len(images)))) for at in range(0, len(images), _CHUNK))
    found: list[tuple[str, str]] = []
    with tqdm(total=len(images), desc=f"decode {images.name}", unit="img", disable=None) as bar:
        for size, faults in _mapped(_check, chunks, workers=workers if len(images) > _CHUNK else 0):
            found += faults
            bar.update(size)
    return found


def _mapped(work: Callable, items: Iterator[ImageSet], *, workers: int) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    if workers < 2:
        yield from map(work, items)
        return
    import torchvision.io  # noqa: F401  seconds of import, which forked workers inherit

    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(work, items)


def _check(images: ImageSet) -> tuple[int, list[tuple[str, str]]]:
    """Return the number of images examined, and the faults among them."""
    faults = []
    for i, name in enumerate(images.ids.tolist()):
        try:
            decode_image(images.read(i), name=name)
        except KitError as error:
            faults.append((name, error.seen))
    return len(images), faults


def _examine_labels(disc: Disc, phase: int) -> LabelDiagnosis:
    path = disc.ground_truth[phase]
    try:
        truth = read_ground_truth(path)
    except KitError as error:
        return LabelDiagnosis(phase, path, fault=error.seen)
    except OSError as error:
        return LabelDiagnosis(phase, path, fault=str(error))
    return LabelDiagnosis(
        phase,
        path,
        labelled=len(truth.listed_queries),
        pairs=len(truth.query_ids),
        absent_queries=_absent(truth.listed_queries, getattr(disc, query_set(phase))),
        absent_references=_absent(truth.reference_ids, disc.references),
    )


def _absent(ids: np.ndarray, images: ImageSet | None) -> tuple[str, ...]:
    return tuple(np.setdiff1d(ids, images.ids if images else np.zeros(0, "U1")).tolist())


def _abilities(disc: Disc, labels: Sequence[LabelDiagnosis]) -> Iterator[Ability]:
    """Return what can be run: training, each phase, and its scoring."""
    by_phase = {label.phase: label for label in labels}
    no_train = _lack(disc, "train")
    yield Ability("train", not no_train, no_train or f"{len(disc.train or ())} train images")
    for phase in PHASES:
        needed = (query_set(phase), "references")
        lacks = [lack for name in needed if (lack := _lack(disc, name))]
        reason = "; ".join(lacks) or f"{len(getattr(disc, needed[0]))} queries, {len(disc.references or ())} references"
        if not lacks and no_train:
            reason += f"; only with a finished checkpoint ({no_train})"
        yield Ability(f"phase {phase}", not lacks, reason)
        yield _scoring(phase, by_phase.get(phase))


def _lack(disc: Disc, name: str) -> str:
    """Return the reason that a set cannot be used; empty where it can."""
    if name in disc.refused:
        return f"faults in the {name} images, see the problems"
    return "" if getattr(disc, name) is not None else f"no {name} set"


def _scoring(phase: int, label: LabelDiagnosis | None) -> Ability:
    name = f"score phase {phase}"
    if label is None:
        return Ability(name, False, "no ground truth file")
    if label.fault:
        return Ability(name, False, f"the ground truth file cannot be read: {label.fault}")
    present = label.labelled - len(label.absent_queries)
    reason = f"{present} of {label.labelled} labelled queries at hand, {label.pairs} true pairs"
    if label.absent_references:
        reason += f", {len(label.absent_references)} of their references absent"
    return Ability(name, present > 0, reason)


def render(diagnosis: Diagnosis) -> str:
    """Return the diagnosis as readable text."""
    header = ("set", "images", "in DISC21", "first", "last", "folders", "archives", "gaps", "decoded", "broken")
    rows = [
        (s.name, s.count, FULL[s.name], s.first, s.last, s.folders, s.archives, s.missing, s.decoded, len(s.broken))
        for s in diagnosis.sets
    ]
    lines = [f"{diagnosis.root}: layout {diagnosis.layout}", "", *_table([header, *rows])]
    lines += [
        f"{s.name}: {s.missing} ids missing between its first and last: {some(s.gaps)}"
        for s in diagnosis.sets
        if s.gaps
    ]
    lines += [f"{s.name} broken {name}: {reason}" for s in diagnosis.sets for name, reason in s.broken]
    for label in diagnosis.labels:
        lines += ["", f"ground truth of phase {label.phase}: {label.path}"]
        lines.append("  " + (label.fault or f"{label.labelled} labelled queries, {label.pairs} true pairs"))
        for kind, absent in (("queries", label.absent_queries), ("references", label.absent_references)):
            lines += [f"  {len(absent)} {kind} in it are not at hand: {some(absent)}"] if absent else []
    if diagnosis.problems:
        lines += ["", f"problems ({len(diagnosis.problems)})", *(f"  {problem}" for problem in diagnosis.problems)]
    lines += [
        "",
        "what can be run",
        *_table([(a.name, "yes" if a.possible else "no", a.reason) for a in diagnosis.abilities]),
    ]
    return "\n".join(lines)


def _table(rows: Sequence[tuple]) -> list[str]:
    """Return lines of aligned columns: numbers to the right, text to the left."""
    texts = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    right = [isinstance(cell, int) for cell in rows[-1]]
    return [
        "  "
        + "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in texts
    ]
