"""Rules 5.4 and 5.5, independence: a descriptor depends on its image, a score on its pair, and both on nothing else.

Recomputed values are compared with the submitted ones. What may differ is rounding: a batch of another size or a
device of another make adds in another order. Measured on the baseline by benchmarks/tolerance.py, as a part of a
vector's length: on a CPU at most 5e-7 in float32 and 0 in bf16, for batches of 1 against 16; bf16 against float32 at
most 5.1e-2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from isckit import config
from isckit.config import Dependence
from isckit.judge.rules.experiments.contestant import Drawn
from isckit.judge.rules.experiments.isolate import told
from isckit.judge.rules.experiments.trials import FAULTY, NOISE, Sample, Trial, sample, trials
from isckit.judge.rules.finding import Case, Finding, judged
from isckit.runs.artifacts import read_receipt, receipt_path
from isckit.runs.meter import machine
from isckit.runs.workspace import query_set
from isckit.submission import open_descriptors, read_matches
from isckit.types import Embeddings, Matches


def matching_steps(recipe: config.Recipe) -> list[str]:
    """Return all steps from descriptions to the list, in their order."""
    settings = recipe.matching
    steps = [
        f"{branch.kind} {branch.name}" if branch.name != branch.kind else branch.name for branch in settings.branches
    ]
    steps.append(f"fusion {settings.fusion.kind}")
    if settings.best_per_query:
        steps.append(f"best {settings.best_per_query} of each query")
    return [*steps, "best rows of all"]


def dependences(recipe: config.Recipe) -> list[Dependence]:
    """Return the steps that look at other images, in their order."""
    settings = recipe.matching
    found = [step for b in settings.branches for step in b.dependences(final=_final(settings, b))]
    if settings.fusion.kind == "ranks":
        does = "a score is the rank among the references of the query"
        found.append(
            Dependence("matching.fusion.kind=ranks", does, "reciprocal rank fusion", "any other kind of fusion")
        )
    if kept := settings.best_per_query:
        does = f"of each query's references {kept} {'are' if kept > 1 else 'is'} kept"
        source = "separate (2nd) and imgFp (3rd)"
        found.append(Dependence(f"matching.best_per_query={kept}", does, source, "matching.best_per_query=0"))
    return found


def _final(settings: config.Matching, branch: config.Branch) -> bool:
    """Return True where the scores of a branch are those of the list, so that cutting them is cutting the list."""
    asked = any(branch.name in other.takes for other in settings.branches)
    # The best of several scores is itself cut by all lists; a sum or mean of them has parts that one list leaves out.
    return not asked and settings.fusion.kind == "best"


TOLERANCE = {"cpu": 1e-4, "cuda": 2e-2, "bf16": 1e-1}
"""Largest difference allowed, as a part of a vector's length, or of a score and the spread of scores.

The limit of the rules, a cosine of 1 - 1e-4, is a difference of 1.4e-2. The CUDA and bf16 limits leave room for other
kernels at other batch sizes, and for the neighbours of normalisation that change places then; CUDA is not measured.
"""
NOISE_ALLOWED = 0.5
"""The same for images of which every hundredth value is one level off: a cosine of 0.87. A table of known images, by
whatever hash, has nothing of them."""
NOISE_SHARE = 0.05
"""Share of those values that may differ by more: keypoints come and go."""
_SHOWN = 3


class Gap(NamedTuple):
    """The difference of a recomputed value from the submitted one."""

    trial: str
    what: str
    size: float


def independent_descriptors(case: Case) -> Finding:
    """Judge rule 5.5: a descriptor depends on its own image and on fixed parameters, not on other queries or
    references.
    """
    path = case.workspace.descriptors(case.phase, case.name)
    if not path.is_file():
        return Finding("passed", "none", "no descriptor file")
    if _unrun(case):
        return _by_recipe(case, lambda recipe: ["ensemble", *(step.kind for step in recipe.normalise)])
    with open_descriptors(path) as sides:
        gaps = [
            gap
            for trial in trials(case)
            for side, drawn, answered in zip(
                sides,
                (trial.queries, trial.references),
                (trial.answer.queries, trial.answer.references),
                strict=True,
            )
            if answered is not None
            for gap in _vector_gaps(trial, side, drawn, answered)
        ]
    if not gaps:
        return Finding("unknown", "none", "the pipeline wrote no descriptors")
    return _verdict(case, gaps, "vectors", drawn=sample(case))


def independent_pairs(case: Case) -> Finding:
    """Judge rule 5.4: the score of a pair is the same as if there were no other images, and no pair is left out for
    another's sake.
    """
    path = case.workspace.matches(case.phase, case.name)
    if not path.is_file():
        return Finding("passed", "none", "no matching file")
    if _unrun(case):
        found = _by_recipe(case, matching_steps)
        return replace(found, detail="; ".join([found.detail, *_declared(case)]) if found.detail else "")
    if all(trial.answer.scores is None for trial in trials(case)):
        return Finding("unknown", "none", "the pipeline wrote no matching file")
    matches = read_matches(path)
    rows = _Rows(matches, set(sample(case).queries.ids.tolist()))
    gaps = [gap for trial in trials(case) for gap in _score_gaps(trial, rows, tolerance(case))]
    return _verdict(case, gaps, "scores", drawn=sample(case), notes=_declared(case))


def tolerance(case: Case) -> float:
    """Return the largest difference allowed, by the devices of the submission and of this machine, and by the recipe's
    precision.

    A submission without records of its making is held to the limit of the machine that it is recomputed on.
    """
    if case.probe is not None and case.probe.tolerance is not None:
        return case.probe.tolerance
    devices = {"cuda" if machine().get("gpus") else "cpu"}
    if case.workspace.recipe(case.name).is_file():
        recipe = case.recipe
        devices |= {"bf16"} if recipe.extract.bf16 else set()
        for member in recipe.members:
            folder = case.workspace.embeddings(case.name, query_set(case.phase), member.name)
            if receipt_path(folder).is_file():
                devices.add(str(read_receipt(folder)["facts"].get("device", "cpu")).split(":")[0])
    return max(TOLERANCE[device] for device in devices)


def _unrun(case: Case) -> bool:
    """Return True if no experiment can be made."""
    return case.probe is None or case.probe.sample == 0 or case.disc is None


def _by_recipe(case: Case, steps: Callable[[config.Recipe], list[str]]) -> Finding:
    """Return what to say where no experiment can be made."""
    if not case.workspace.recipe(case.name).is_file():
        return Finding("unknown", "none", "no recipe, and no images or pipeline to experiment with")
    return Finding("passed", "declared", f"steps of the recipe: {', '.join(steps(case.recipe))}", "not run")


def _declared(case: Case) -> list[str]:
    """Steps of the recipe, where there is one, that look at other images."""
    recipe = case.recipe if case.workspace.recipe(case.name).is_file() else None
    return [f"looks at other images: {step}" for step in dependences(recipe)] if recipe else []


def _vector_gaps(trial: Trial, submitted: Embeddings, drawn: Drawn, told: Embeddings) -> Iterator[Gap]:
    """Differences of vectors as a part of the submitted vector's length; infinite for an image with no vector."""
    place = {name: row for row, name in enumerate(submitted.ids.tolist())}
    answered = dict(zip(told.ids.tolist(), told.vectors, strict=True))
    for name, image in zip(drawn.names.tolist(), drawn.ids.tolist(), strict=True):
        if image not in place:
            continue
        before, after = np.asarray(submitted.vectors[place[image]], np.float64), answered.get(name)
        length = max(float(np.linalg.norm(before)), 1e-12)
        if after is None or after.shape != before.shape:
            yield Gap(trial.name, f"{image} has no such vector", np.inf)
        else:
            yield Gap(trial.name, image, float(np.linalg.norm(after - before)) / length)


class _Rows:
    """The submitted rows of the sampled queries, and how the rows may have been chosen."""

    def __init__(self, matches: Matches, sampled: set[str]) -> None:
        rows = zip(matches.query_ids.tolist(), matches.reference_ids.tolist(), matches.scores.tolist(), strict=True)
        self.scores = {(query, reference): score for query, reference, score in rows if query in sampled}
        self.lowest = float(np.min(matches.scores, initial=np.inf))
        self.most = int(np.unique(matches.query_ids, return_counts=True)[1].max(initial=0))
        self.spread = float(np.std(matches.scores)) or 1.0
        self.of_query: dict[str, list[float]] = {}
        for (query, _), score in self.scores.items():
            self.of_query.setdefault(query, []).append(score)

    def scale(self, score: float) -> float:
        return max(abs(score), self.spread)

    def leaves_out(self, query: str, score: float, allowed: float) -> bool:
        """Return True if neither a cut of the scores over all queries, nor one of the rows per query, explains that it
        lacks.

        Other rows of the query that score less, or a query with fewer rows than others, say that its rows were chosen
        by something else than scores.
        """
        own, slack = self.of_query.get(query, []), allowed * self.scale(score)
        return score > self.lowest + slack and (len(own) < self.most or score > min(own) + slack)


def _score_gaps(trial: Trial, rows: _Rows, allowed: float) -> Iterator[Gap]:
    """Differences of scores as a part of the larger of the score and the spread of all submitted scores.

    Infinite for a pair that was submitted and gets no score, or that scores high enough and was not submitted: whatever
    chose the rows looked at other images.
    """
    recomputed = trial.answer.scores or {}
    for name, query in zip(trial.queries.names.tolist(), trial.queries.ids.tolist(), strict=True):
        for other, reference in zip(trial.references.names.tolist(), trial.references.ids.tolist(), strict=True):
            before, after = rows.scores.get((query, reference)), recomputed.get((name, other))
            if before is not None and after is not None:
                yield Gap(trial.name, f"{query},{reference}", abs(after - before) / rows.scale(before))
            elif before is not None:
                # With noise a pair at the cut may fall behind it, but no sure one.
                if trial.name != NOISE or before > rows.lowest + rows.spread:
                    yield Gap(trial.name, f"{query},{reference} was submitted but gets no score", np.inf)
            elif after is not None and trial.name != NOISE and rows.leaves_out(query, after, allowed):
                yield Gap(trial.name, f"{query},{reference} scores {after:.4g} but was left out", np.inf)


def _verdict(case: Case, gaps: list[Gap], what: str, *, drawn: Sample, notes: Sequence[str] = ()) -> Finding:
    """Judge whether anything differs; the notes stand beside either answer, as they may explain it."""
    allowed = tolerance(case)
    problems = []
    for trial in dict.fromkeys(gap.trial for gap in gaps):
        own, limit = [gap for gap in gaps if gap.trial == trial], NOISE_ALLOWED if trial == NOISE else allowed
        wrong = sorted((gap for gap in own if not gap.size <= limit), key=lambda gap: -gap.size)
        if len(wrong) > (NOISE_SHARE * len(own) if trial == NOISE else 0):
            named = ", ".join(g.what + (f" by {g.size:.2g}" if np.isfinite(g.size) else "") for g in wrong[:_SHOWN])
            problems.append(f"{trial}: {len(wrong)} of {len(own)} {what} differ ({named})")
    largest = max((gap.size for gap in gaps if gap.trial != NOISE), default=0.0)
    count = len({gap.trial for gap in gaps})
    examined = (
        f"{count} experiments, {told()}, on {len(drawn.queries.rows)} queries "
        f"({drawn.power:.0%} to meet a fault of {FAULTY:.0%} of all): "
        f"{len(gaps)} {what}, largest difference {largest:.1e} (allowed {allowed:.0e})"
    )
    found = judged(problems, "sampled", examined)
    return replace(found, detail="; ".join([*problems, *notes]))
