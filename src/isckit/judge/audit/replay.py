"""Replaying a submission: done again from the images in fresh processes, and compared value by value."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isckit.data.image_sets import ImageSet
from isckit.data.layouts import open_disc, require
from isckit.judge.audit.compare import (
    Comparison,
    compare_descriptors,
    compare_figures,
    compare_files,
    compare_matches,
    compare_numbers,
    compare_weights,
)
from isckit.judge.audit.manifest import read_manifest
from isckit.judge.rules.experiments.contestant import INFER, Drawn, ask
from isckit.judge.rules.experiments.trials import again, scratch
from isckit.judge.rules.finding import Case
from isckit.judge.rules.independence import tolerance
from isckit.judge.score.report import TRACKS, score
from isckit.judge.state import WORDS, parts
from isckit.runs.artifacts import environment
from isckit.runs.embeddings import read_embeddings
from isckit.runs.meter import machine
from isckit.runs.records import Scores, read_json
from isckit.runs.workspace import DESCRIPTORS, MATCHES, SCORE, Workspace, query_set
from isckit.submission import open_descriptors, read_matches
from isckit.types import MissingInput


@dataclass(frozen=True)
class Replay:
    """The outcome of doing it again.

    Attributes:
        comparisons: one an artifact.
        elsewhere: in what this machine and its packages differ from the submission's; empty for the same place.
        allowed: relative difference allowed elsewhere; on the same machine nothing may differ.
        what: what was done again.
    """

    comparisons: list[Comparison]
    elsewhere: list[str]
    allowed: float
    what: str

    @property
    def passed(self) -> bool:
        """Return True if identical on the same machine and device; within the tolerance elsewhere."""
        limit = self.allowed if self.elsewhere else 0.0
        return all(found.identical or (found.largest <= limit and not found.missing) for found in self.comparisons)

    def __str__(self) -> str:
        place = (
            f"another place ({'; '.join(self.elsewhere[:4])}): within {self.allowed:.0e} expected"
            if self.elsewhere
            else "the same machine, device and packages: identical bits expected"
        )
        lines = [f"replayed {self.what}", place, *(f"  {found}" for found in self.comparisons)]
        return "\n".join([*lines, "REPRODUCED" if self.passed else "NOT REPRODUCED"])


def replay_sample(folder: Path, *, data: Path, sample: int, seed: int = 0) -> Replay:
    """Describe and match whole batches of queries and references again, with the weights and fitted parts at hand.

    Batches are those of the submission, so that on the same machine not a bit may differ.

    Args:
        folder: the submission.
        data: the images.
        sample: queries, and as many references, rounded up to whole batches.
        seed: which.

    Raises:
        MissingInput: images, weights or fitted parts are not there.
        BadInput: describing failed.
    """
    case = _case(folder, data)
    assert case.disc is not None
    rng = np.random.default_rng(seed)
    extract = case.recipe.extract
    batch = min(extract.batch_images, extract.shard_images)
    sides = [require(case.disc, name) for name in (query_set(case.phase), "references")]
    drawn = [_whole_batches(images, sample, batch, extract.shard_images, rng) for images in sides]
    with tempfile.TemporaryDirectory(prefix="isckit-") as place:
        root = case.workspace.root
        answer = ask(
            INFER,
            drawn[0],
            drawn[1],
            folder=Path(place),
            batch=batch,
            name=case.name,
            root=root,
            threads=_threads(case),
        )
    comparisons = []
    path = case.workspace.descriptors(case.phase, case.name)
    if path.is_file():
        assert answer.queries is not None and answer.references is not None
        with open_descriptors(path) as submitted:
            pairs = zip(submitted, (answer.queries, answer.references), strict=True)
            comparisons += [compare_descriptors(before, after) for before, after in pairs]
    path = case.workspace.matches(case.phase, case.name)
    if path.is_file():
        comparisons.append(compare_matches(read_matches(path), answer.scores or {}, whole=False))
    what = f"{len(drawn[0].rows)} queries and {len(drawn[1].rows)} references, in whole batches of {batch}"
    return Replay(comparisons, _elsewhere(case), tolerance(case), what)


def replay_full(folder: Path, *, data: Path, retrain: bool, workers: int, keep: Path | None = None) -> Replay:
    """Do everything again from the images: extraction of all sets, the fit, both tracks; training too where asked for.

    No embedding, fitted part or submission file of the run is looked at before the comparison.

    Args:
        folder: the submission.
        data: the images.
        retrain: train again, instead of taking the weights.
        workers: image loading processes.
        keep: a new folder to work in and keep; else all is removed afterwards.

    Raises:
        MissingInput: images or weights are not there.
        BadInput: a step failed.
    """
    case = _case(folder, data)
    with _place(keep) as root:
        there = scratch(case.workspace, case.name, root, weights=not retrain)
        if case.phase == 2:
            there.freeze(case.name).symlink_to(case.workspace.freeze(case.name).resolve())
        _do_again(case, there, data, retrain=retrain, workers=workers)
        comparisons = [*_compared(case, there, retrain=retrain), *_scored(case, there)]
    what = "everything from the images" + (", training included" if retrain else ", with the weights at hand")
    return Replay(comparisons, _elsewhere(case), tolerance(case), what)


def _case(folder: Path, data: Path) -> Case:
    case = Case(*Workspace.locate(folder), disc=open_disc(data))
    if not any((folder / name).is_file() for name in (DESCRIPTORS, MATCHES)):
        raise MissingInput(
            seen=f"{folder} holds neither {DESCRIPTORS} nor {MATCHES}",
            allowed="a submission folder",
            remedy="correct the path",
        )
    return case


def _whole_batches(images: ImageSet, sample: int, batch: int, shard: int, rng: np.random.Generator) -> Drawn:
    """Batches as extraction makes them: none crosses a shard. Only full ones, unless there is none."""
    starts = [
        start
        for first in range(0, len(images), shard)
        for start in range(first, min(first + shard, len(images)), batch)
        if start + batch <= min(first + shard, len(images))
    ]
    if not starts:
        return Drawn.as_they_are(images, np.arange(min(len(images), batch)))
    chosen = np.sort(rng.permutation(starts)[: max(1, -(-sample // batch))])
    return Drawn.as_they_are(images, (chosen[:, None] + np.arange(batch)).ravel())


@contextlib.contextmanager
def _place(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True)
        yield keep.resolve()
    else:
        with tempfile.TemporaryDirectory(prefix="isckit-") as folder:
            yield Path(folder)


def _do_again(case: Case, there: Workspace, data: Path, *, retrain: bool, workers: int) -> None:
    """The verbs of a phase, their progress on show."""
    name, threads = case.name, _threads(case)
    values = {"data": data, "workers": workers, "recipe": case.workspace.recipe(name).resolve(), "phase": case.phase}
    if retrain:
        options = "--data {data} --recipe {recipe} --workers {workers}"
        again("train", there, name, options=options, values=values, threads=_threads(case, training=True), show=True)
    sets = " ".join(f"--sets {image_set}" for image_set in ("train", "references", query_set(case.phase)))
    options = f"--data {{data}} --workers {{workers}} {sets}"
    again("extract", there, name, options=options, values=values, threads=threads, show=True)
    again("fit", there, name, threads=threads, show=True)
    for track, path in (("descriptor", case.workspace.descriptors), ("matching", case.workspace.matches)):
        if path(case.phase, name).is_file():
            options = "--phase {phase}" + (" --data {data} --workers {workers}" if track == "matching" else "")
            again(track, there, name, options=options, values=values, threads=threads, show=True)


def _compared(case: Case, there: Workspace, *, retrain: bool) -> Iterator[Comparison]:
    """Each artifact, in the order they are made; values are looked at where bytes differ."""
    here, name = case.workspace, case.name
    if retrain:
        yield compare_files(here.weights(name), there.weights(name))
        yield compare_weights(here.weights(name), there.weights(name))
    yield compare_files(here.ensemble(name), there.ensemble(name))
    yield compare_files(here.bank(name), there.bank(name))
    yield compare_descriptors(read_embeddings(here.bank(name)), read_embeddings(there.bank(name)))
    yield from _further_parts(here, there, name)
    before, after = (workspace.descriptors(case.phase, name) for workspace in (here, there))
    if before.is_file():
        yield compare_files(before, after)
        with open_descriptors(before) as old, open_descriptors(after) as new:
            yield from (compare_descriptors(a, b) for a, b in zip(old, new, strict=True))
    before, after = (workspace.matches(case.phase, name) for workspace in (here, there))
    if before.is_file():
        yield compare_files(before, after)
        made = read_matches(after)
        pairs = zip(made.query_ids.tolist(), made.reference_ids.tolist(), strict=True)
        yield compare_matches(read_matches(before), dict(zip(pairs, made.scores.tolist(), strict=True)), whole=True)


def _further_parts(here: Workspace, there: Workspace, name: str) -> Iterator[Comparison]:
    """Yield the comparisons of what was fitted beside PCA and bank."""
    before, after = ({k: v for k, v in parts(w, name).items() if k not in WORDS} for w in (here, there))
    for part in sorted(before.keys() | after.keys()):
        if part in before and part in after:
            yield compare_numbers(before[part], after[part], what=part)
        else:
            yield Comparison(part, 0, False, missing=(part,))


def _scored(case: Case, there: Workspace) -> Iterator[Comparison]:
    """The scores that the submission reported, against those of the files made again."""
    assert case.disc is not None
    truth, reported = case.disc.ground_truth.get(case.phase), case.folder / SCORE
    if truth is None or not reported.is_file():
        return
    queries, references = (require(case.disc, name).ids for name in (query_set(case.phase), "references"))
    for track, figures in read_json(reported, Scores).items():
        path = there.submission(case.phase, case.name) / TRACKS[track]
        official = not str(figures["protocol"]["candidates"]).startswith("knn")
        if path.is_file() and official:
            made = score(path, truth, queries=queries, references=references, protocol="global", k=10, bootstrap=0)
            yield compare_figures(f"uAP of {path.name}", figures["average_precision"], made.average_precision)


def _threads(case: Case, *, training: bool = False) -> int | None:
    """Threads that the weights were trained with, or the images described with, by the manifest."""
    devices = read_manifest(case.folder)["devices"]
    told = [where.get("threads") for step, where in devices.items() if (step == "train") == training]
    return next((int(number) for number in told if number), None)


def _elsewhere(case: Case) -> list[str]:
    """In what this machine and its packages differ from those of the submission's manifest."""
    recorded = read_manifest(case.folder)
    now = {"packages": environment(), "machine": machine()}
    return [
        f"{key} {recorded[part].get(key)} there, {now[part].get(key)} here"
        for part in now
        for key in sorted(recorded[part].keys() | now[part].keys())
        if recorded[part].get(key) != now[part].get(key)
    ]
