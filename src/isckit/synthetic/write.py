"""Writes a DISC21-shaped mini set by editing pictures: the user's own photos, or pictures from nothing.

It writes data but lives beside the edits, which `data` may not import. Every picture is used once: for training, as a
reference, as the original of a distractor, or as a prop of edits. So the ground truth holds by construction, as long as
the photos themselves are no copies of each other; of equal files the first is used.
"""

from __future__ import annotations

import functools
import hashlib
import multiprocessing
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from isckit.data.images import BrokenImage, decode
from isckit.data.layouts import ImageSet
from isckit.runs.artifacts import atomic, write_json, write_text
from isckit.runs.records import read_json
from isckit.runs.workspace import PHASES
from isckit.synthetic.plan import Plan, Task, draw_tasks, edit, make_plan
from isckit.synthetic.procedural import bundled_pictures, picture
from isckit.types import BadInput

STAMP = "synthetic.json"
"""File of a set that holds what it was made from."""

_SHORTEST = 16
_QUALITIES = 75, 96
_QUERY_SCALE = 1.5


@dataclass(frozen=True)
class Summary:
    """The set that stands in the folder; `made` is False if it stood there before."""

    folder: Path
    plan: Plan
    made: bool

    def __str__(self) -> str:
        p = self.plan
        done = "written:" if self.made else "nothing to do, this very set stands there:"
        return (
            f"{done} {self.folder}  ({p.train} train, {p.references} references, "
            f"2 x {p.queries} queries, {p.copies} copies each)"
        )


def write_mini(
    out: Path,
    *,
    source: ImageSet | None = None,
    train: int = 0,
    references: int = 0,
    queries: int = 0,
    seed: int = 1,
    positives: float = 0.4,
    size: int = 256,
    workers: int = 1,
) -> Summary:
    """Write a mini set: images/, list_files/ with ground truths and edits.csv. Same arguments, same bytes.

    Of each phase's queries, the share `positives` are edited copies of a reference of their own, the others edited
    distractors. Phase 2 has more and harder edits, some of kinds that phase 1 has not. A killed run is taken up again
    by the same call; the folder appears only when it is whole.

    Args:
        out: folder to write; if this very set stands there, nothing is done.
        source: photos to use; None draws pictures from nothing.
        train, references, queries: numbers of images, `queries` for each phase; 0 takes the automatic number.
        seed: decides everything random.
        positives: share of queries that are copies.
        size: longest side of images in pixels; queries may be longer by a half.
        workers: processes; more than one pays from some thousand images on, as each starts slowly.

    Raises:
        BadInput: another thing stands at `out`; numbers that do not fit each other or the photos; broken photos.
        StorageFull: no space left.
    """
    out = out.resolve()
    rows, digest = _distinct(source) if source else ([], "")
    plan = make_plan(
        len(rows) if source else None,
        train=train,
        references=references,
        queries=queries,
        seed=seed,
        positives=positives,
        size=size,
        photos=digest,
    )
    if _stands(out, plan):
        return Summary(out, plan, made=False)
    tasks = draw_tasks(plan)
    with _whole(out, plan) as part:
        _write_images(_Maker(part, plan, source, rows), tasks, workers=workers)
        _write_lists(part / "list_files", tasks[plan.train + plan.references :])
    return Summary(out, plan, made=True)


def _distinct(source: ImageSet) -> tuple[list[int], str]:
    """Rows of the photos without repeated files, and a digest of ids and contents."""
    rows: dict[bytes, int] = {}
    for row in tqdm(range(len(source)), desc="compare photos", unit="img", disable=None):
        rows.setdefault(hashlib.sha256(source.read(row)).digest(), row)
    names = "\n".join(str(source.ids[row]) for row in rows.values())
    return list(rows.values()), hashlib.sha256(b"".join(rows) + names.encode()).hexdigest()


def _stands(out: Path, plan: Plan) -> bool:
    """Return True if the set of this plan stands at `out`; BadInput if anything else does."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if (out / STAMP).is_file() and read_json(out / STAMP) == asdict(plan):
        return True
    kind = "a set made with other arguments" if (out / STAMP).is_file() else "something that is no set of this command"
    raise BadInput(
        seen=f"{out} holds {kind}",
        allowed="a new or empty folder, or the set of the same arguments",
        remedy="choose another --out, or remove that folder",
    )


@contextmanager
def _whole(out: Path, plan: Plan) -> Iterator[Path]:
    """A hidden folder beside `out`, renamed to it when the block ends well; a killed run's is taken up."""
    part = out.with_name(f".{out.name}.part")
    if part.exists() and not ((part / STAMP).is_file() and read_json(part / STAMP) == asdict(plan)):
        shutil.rmtree(part)
    for stray in part.rglob(".*.part"):  # the file that was being written when the run was killed
        stray.unlink()
    try:
        write_json(part / STAMP, asdict(plan))
        yield part
        part.replace(out)
    except Exception:
        shutil.rmtree(part, ignore_errors=True)
        raise


class _Maker:
    """Makes image files of a plan; goes to worker processes as it is."""

    def __init__(self, folder: Path, plan: Plan, source: ImageSet | None, rows: Sequence[int]) -> None:
        self.folder, self.plan, self.source, self.rows = folder, plan, source, rows

    def __call__(self, task: Task) -> str:
        """Write the task's file unless it is there; returns the fault of a photo that cannot be used, or ""."""
        path = self.folder / task.path
        if path.exists():
            return ""
        # Each file has a generator of its own, so neither order nor number of processes matters.
        rng = np.random.default_rng([self.plan.seed, 3, *task.path.encode()])
        try:
            image = self.picture(task.picture)
            if task.phase:
                image = edit(image, task.edits, rng, phase=task.phase, other=lambda: self.prop(rng))
        except BrokenImage as error:
            return error.seen
        limit = self.plan.size * (_QUERY_SCALE if task.phase else 1)
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*_QUALITIES))]
        encoded = cv2.imencode(".jpg", cv2.cvtColor(_reduce(image, int(limit)), cv2.COLOR_RGB2BGR), quality)[1]
        with atomic(path) as temporary:
            temporary.write_bytes(encoded.tobytes())
        return ""

    def prop(self, rng: np.random.Generator) -> np.ndarray:
        """Return one of the pictures that serve edits alone."""
        return self.picture(self.plan.pictures - 1 - int(rng.integers(self.plan.props)))

    def picture(self, number: int) -> np.ndarray:
        """Return the picture of a number, (H, W, 3) uint8, at most `size` long.

        Raises:
            BrokenImage: the photo cannot be decoded, or is too narrow to be edited.
        """
        if self.source is None:
            photographs = _photographs()
            if number < len(photographs):
                return _reduce(photographs[number], self.plan.size)
            return picture(self.plan.seed * 10_000_019 + number, size=self.plan.size)
        row = self.rows[number]
        name = str(self.source.ids[row])
        try:
            image = _reduce(decode(self.source.read(row), name=name), self.plan.size)
        except BrokenImage as error:
            raise _unusable(name, error.seen) from error
        if min(image.shape[:2]) < _SHORTEST:
            raise _unusable(name, f"{image.shape[1]} x {image.shape[0]} pixels, fewer than {_SHORTEST} on one side")
        return image


_photographs = functools.cache(bundled_pictures)


def _unusable(name: str, reason: str) -> BrokenImage:
    return BrokenImage(seen=f"{name}: {reason}", allowed="photos that decode", remedy=f"take {name} out of the folder")


def _reduce(image: np.ndarray, longest: int) -> np.ndarray:
    """The image with at most `longest` pixels on its longer side."""
    h, w = image.shape[:2]
    scale = longest / max(h, w)
    if scale >= 1:
        return image
    return cv2.resize(image, (max(1, round(w * scale)), max(1, round(h * scale))), interpolation=cv2.INTER_AREA)


def _write_images(maker: _Maker, tasks: Sequence[Task], *, workers: int) -> None:
    """Make every file, in this process or in several; all photos that cannot be used are reported together."""
    with _mapper(workers) as each:
        faults = sorted(set(tqdm(each(maker, tasks), total=len(tasks), desc="write", unit="img", disable=None)) - {""})
    if faults:
        shown = "\n".join(f"  {fault}" for fault in faults[:20])
        raise BadInput(
            seen=f"{len(faults)} photos that cannot be used:\n{shown}" + "\n  ..." * (len(faults) > 20),
            allowed=f"image files that decode, {_SHORTEST} pixels or more on the short side when reduced",
            remedy="take these files out of the folder and run the command again",
        )


@contextmanager
def _mapper(workers: int) -> Iterator[functools.partial | type[map]]:
    """An ordered map over one or several processes."""
    if workers <= 1:
        yield map
        return
    # Spawned, as a fork would inherit the locks of OpenCV's and torch's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=cv2.setNumThreads, initargs=(0,)) as pool:
        yield functools.partial(pool.map, chunksize=8)


def _write_lists(folder: Path, queries: Sequence[Task]) -> None:
    """Write the ground truths (a distractor has an empty reference) and the log of edits."""
    dev, final = ([task for task in queries if task.phase == phase] for phase in PHASES)
    for name, tasks in (("public", dev[: len(dev) // 2]), ("dev", dev), ("final", final)):
        rows = [f"{task.image_id},{task.reference}" for task in tasks]
        write_text(folder / f"{name}_ground_truth.csv", "\n".join(["query_id,reference_id", *rows]) + "\n")
    edits = [
        f"{task.image_id},{task.phase},{step},{op},{task.reference}"
        for task in queries
        for step, op in enumerate(task.edits, 1)
    ]
    write_text(folder / "edits.csv", "\n".join(["query_id,phase,step,op,reference_id", *edits]) + "\n")
