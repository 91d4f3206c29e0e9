"""The experiments on independence (rules 5.4, 5.5): the same images alone, among others, elsewhere, renamed, doubled.

A descriptor or score that depends on nothing but its own image or pair, and on what is fixed, comes out as submitted in
every one of them. Each runs the contestant's pipeline in a fresh process on images that the referee laid out.
"""

from __future__ import annotations

import functools
import math
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from isckit.data.ground_truth import PHASE_QUERIES, phases_of
from isckit.data.image_sets import ImageSet
from isckit.data.layouts import require
from isckit.judge.rules.experiments.contestant import AT_ONCE, KIT, THREADS, Answer, Drawn, ask, start
from isckit.judge.rules.finding import Case
from isckit.runs.artifacts import receipt_path
from isckit.runs.workspace import Workspace, query_set
from isckit.submission import best_rows, read_matches
from isckit.types import Matches, Role

ALONE = 3
"""Pairs looked at in a process of their own, with no other image present."""
PART = 16
"""Queries of the sample that all experiments but the first have, and references beside those of their rows."""
NOISE = "pixels one level off"
"""The experiment on images that nobody has seen: what is said of them may change a little."""
BATCH = 16
"""Images a batch in the experiments that have several: another size than that of submissions."""
MATCHES_PER_QUERY = 2
"""References drawn with each query: those of its best rows in the submission."""


@dataclass(frozen=True)
class Trial:
    """One experiment: what was changed, the images, and what the pipeline said."""

    name: str
    queries: Drawn
    references: Drawn
    answer: Answer


@functools.lru_cache(maxsize=1)
def trials(case: Case) -> tuple[Trial, ...]:
    """Return all experiments on a sample of the submission's images; made once for both rules.

    Raises:
        BadInput: the pipeline failed on one of them.
    """
    assert case.probe is not None
    drawn = sample(case)
    plans = list(_plans(drawn, np.random.default_rng([case.probe.seed, 1])))
    with tempfile.TemporaryDirectory(prefix="isckit-") as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        asked = [pool.submit(_ask, case, plan, Path(folder) / str(number)) for number, plan in enumerate(plans)]
        answers = [job.result() for job in tqdm(asked, desc="independence", unit="experiment")]
    return tuple(Trial(p[0], p[1], p[2], answer) for p, answer in zip(plans, answers, strict=True))


TrialPlan = tuple[str, Drawn, Drawn, int]


def _ask(case: Case, plan: TrialPlan, folder: Path) -> Answer:
    assert case.probe is not None
    _, queries, references, batch = plan
    return ask(
        case.probe.infer,
        queries,
        references,
        folder=folder,
        batch=batch,
        name=case.name,
        root=case.workspace.root,
        threads=THREADS,
    )


def _plans(drawn: Sample, rng: np.random.Generator) -> Iterator[TrialPlan]:
    """Name, queries, references and batch size of each experiment of competition rule 5.4.

    One has the whole sample, which decides its power; the others, a part of it.
    """
    queries, references, best = drawn.queries, drawn.references, drawn.best
    yield "order, ids and files changed", _elsewhere(queries, rng), _elsewhere(references, rng), BATCH
    queries = _part(queries, np.arange(min(PART, len(queries.rows))))
    own = np.isin(references.ids, [name for query in queries.ids.tolist() for name in best.get(query, [])])
    references = _part(references, np.flatnonzero(own | (np.cumsum(~own) <= PART)))
    for number, query in enumerate(queries.ids[:ALONE].tolist()):
        best_of = np.flatnonzero(np.isin(references.ids, best.get(query, [])[:1])).tolist()
        beside = best_of or [number % len(references.rows)]
        yield f"{query} alone with a reference", _part(queries, [number]), _part(references, beside), 1
    half = [rng.permutation(len(side.rows))[: max(1, len(side.rows) // 2)] for side in (queries, references)]
    yield "half of the others removed", _part(queries, half[0]), _part(references, half[1]), BATCH
    for part in range(min(2, len(references.rows))):
        shared = _part(references, np.arange(part, len(references.rows), 2))
        yield f"references split, part {part + 1}", queries, shared, BATCH
    yield NOISE, replace(queries, form="noise"), replace(references, form="noise"), BATCH
    yield "every query twice", _doubled(queries), references, BATCH


def _elsewhere(side: Drawn, rng: np.random.Generator) -> Drawn:
    """Under other ids, in another order, and in other files of the same pixels."""
    return replace(_renamed(side, rng), form="pixels")


def _part(drawn: Drawn, which: np.ndarray | list[int]) -> Drawn:
    return replace(drawn, rows=drawn.rows[which], names=drawn.names[which])


def _renamed(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    """Other ids of the same grammar and phase, which put the images into another order."""
    numbers = rng.choice(PHASE_QUERIES, len(drawn.rows), replace=False)
    if drawn.images.role is Role.REFERENCE:
        return replace(drawn, names=np.array([f"R{number:06d}" for number in numbers]))
    first = _first_of_phase(drawn)
    return replace(drawn, names=np.array([f"Q{first + number:05d}" for number in numbers]))


def _doubled(queries: Drawn) -> Drawn:
    """Every query also under a second, unused id."""
    taken, first = set(queries.names.tolist()), _first_of_phase(queries)
    free = (name for name in (f"Q{first + number:05d}" for number in range(PHASE_QUERIES)) if name not in taken)
    names = np.array([next(free) for _ in queries.rows])
    return Drawn(queries.images, np.tile(queries.rows, 2), np.concatenate([queries.names, names]))


def _first_of_phase(queries: Drawn) -> int:
    return PHASE_QUERIES * int(phases_of(queries.ids[:1])[0] - 1)


class Sample(NamedTuple):
    """Images drawn for the experiments.

    Attributes:
        queries: with and without rows in turn, those of the most confident rows among the first.
        references: of their best rows, and as many others.
        best: references of each query's best rows, the best first.
        power: chance that a fault of 5 % of all queries meets one of those drawn at random, wherever the fault lies:
            all in queries with rows, or all in queries without.
    """

    queries: Drawn
    references: Drawn
    best: dict[str, list[str]]
    power: float


FAULTY, POWER = 0.05, 0.95
"""Share of all queries that a fault is to have for the power that is told, and the power a sample grows to."""


@functools.lru_cache(maxsize=1)
def sample(case: Case) -> Sample:
    """Return the images of all experiments; drawn once for both rules."""
    assert case.probe is not None and case.disc is not None
    rng, path = np.random.default_rng(case.probe.seed), case.workspace.matches(case.phase, case.name)
    images, shelves = require(case.disc, query_set(case.phase)), require(case.disc, "references")
    matches = read_matches(path) if path.is_file() else None
    ranked = list(dict.fromkeys(best_rows(matches, len(matches)).query_ids.tolist())) if matches else []
    at_random, listed, confident = rng.permutation(images.ids).tolist(), set(ranked), ranked[:ALONE]
    strata = [[name for name in at_random if (name in listed) == with_rows] for with_rows in (True, False)]
    drawn = [[name for name in stratum if name not in confident] for stratum in strata]
    if case.probe.sample is None:
        drawn = [some[: _needed(len(all_), len(images))] for some, all_ in zip(drawn, strata, strict=True)]
    turns = [name for pair in zip_longest([*confident, *drawn[0]], drawn[1]) for name in pair if name is not None]
    chosen = turns[: case.probe.sample]
    best = _best_references(matches, chosen) if matches else {}
    wanted = [reference for references in best.values() for reference in references]
    wanted += rng.permutation(shelves.ids)[: len(chosen)].tolist()
    by_chance = set(chosen).difference(confident)
    power = min(_power(len(stratum), len(by_chance & set(stratum)), len(images)) for stratum in strata if stratum)
    return Sample(_drawn(images, chosen), _drawn(shelves, list(dict.fromkeys(wanted))), best, power)


def _power(size: int, drawn: int, whole: int) -> float:
    """Return the chance that so many of a stratum, drawn at random, meet a fault of FAULTY of the whole, all in it."""
    return 1 - max(0.0, 1 - FAULTY * whole / size) ** drawn


def _needed(size: int, whole: int) -> int:
    """Return how many of a stratum have at least POWER, by `_power`."""
    missed = max(0.0, 1 - FAULTY * whole / max(1, size))
    return 1 if missed == 0 else math.ceil(math.log(1 - POWER) / math.log(missed))


def _best_references(matches: Matches, chosen: list[str]) -> dict[str, list[str]]:
    order = np.flatnonzero(np.isin(matches.query_ids, chosen))
    order = order[np.argsort(-matches.scores[order], kind="stable")]
    best: dict[str, list[str]] = {}
    for query, reference in zip(matches.query_ids[order].tolist(), matches.reference_ids[order].tolist(), strict=True):
        if len(rows := best.setdefault(query, [])) < MATCHES_PER_QUERY:
            rows.append(reference)
    return best


def _drawn(images: ImageSet, names: list[str]) -> Drawn:
    """The images of these names; a submission may name some that are not there, which is the business of rule 5.7."""
    wanted = np.array(names)
    rows = np.minimum(np.searchsorted(images.ids, wanted), len(images) - 1)
    return Drawn.as_they_are(images, rows[images.ids[rows] == wanted])


def scratch(
    workspace: Workspace, name: str, root: Path, *, weights: bool = True, cache: bool = False, codebooks: bool = False
) -> Workspace:
    """Make a root that begins where the run stood after its training: recipe and weights are links to those of the run.

    Args:
        workspace, name: the run.
        root: new folder.
        weights: leave them away to have them trained again.
        cache: see the run's embeddings too.
        codebooks: see the run's visual words too, which are fitted while all of train is described.
    """
    there = Workspace(root)
    shared = [workspace.recipe(name)]
    if weights:
        shared += [workspace.weights(name), receipt_path(workspace.weights(name))]
    if codebooks:
        shared += sorted(workspace.checkpoint(name).glob("*.codebook.npz*"))
    there.checkpoint(name).mkdir(parents=True)
    for path in shared:
        if path.is_file():
            (there.checkpoint(name) / path.name).symlink_to(path.resolve())
    if cache:
        own = workspace.embeddings(name, "train", "member").parent.parent
        link = there.embeddings(name, "train", "member").parent.parent
        link.parent.mkdir(parents=True)
        link.symlink_to(own.resolve())
    return there


def again(
    verb: str,
    workspace: Workspace,
    name: str,
    *,
    options: str = "",
    values: Mapping[str, object] | None = None,
    threads: int | None = None,
    show: bool = False,
) -> None:
    """Do a verb of this kit in a fresh process; `options` has placeholders, the rest is as in `start`.

    Raises:
        BadInput: it failed; its last lines are in the message.
    """
    command = f"{KIT} {verb} --name {{name}} --root {{root}} {options}"
    start(command, {"name": name, "root": workspace.root} | dict(values or {}), threads=threads, show=show)
