"""What a recipe declares of its Matching track: its steps, and those among them that look at other images.

Rule 5.4 forbids reasoning over other queries and references. Yet the contest took lists whose rows were chosen query by
query: separate (2nd) and imgFp (3rd) kept the best reference of each, and many looked up neighbours of each. So a step
that looks at other images is told, with its source and a setting without it; whether it changes what was handed in is
for the experiments to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from isckit import config


class Dependence(NamedTuple):
    """A step that looks at other images: its setting, what it does, who did it, and a setting that does not."""

    setting: str
    does: str
    source: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.does}, as {self.source} did; without: {self.remedy}"


def matching_steps(recipe: config.Recipe) -> list[str]:
    """All steps from descriptions to the list, in their order."""
    settings = recipe.matching
    steps = [
        f"{branch.kind} {branch.name}" if branch.name != branch.kind else branch.name for branch in settings.branches
    ]
    steps.append(f"fusion {settings.fusion.kind}")
    if settings.best_per_query:
        steps.append(f"best {settings.best_per_query} of each query")
    return [*steps, "best rows of all"]


def dependences(recipe: config.Recipe) -> list[Dependence]:
    """The steps that look at other images, in their order."""
    settings = recipe.matching
    found = [step for branch in settings.branches for step in _of_branch(settings, branch)]
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


def _of_branch(settings: config.Matching, branch: config.Branch) -> Iterator[Dependence]:
    place = f"matching.branches.{branch.name}"
    if isinstance(branch, config.Views | config.Agreement | config.Asmk):
        yield from _of_cut(settings, branch, f"{place}.cut")
    elif isinstance(branch, config.Pairs) and branch.keep:
        does = f"the {branch.keep} best references of each query go on to the second pass"
        yield Dependence(f"{place}.keep={branch.keep}", does, "separate (2nd)", f"{place}.keep=0, with a floor")
    elif isinstance(branch, config.Local) and branch.vote is not None and branch.vote.by == "nearest":
        does = "each point votes for the reference that is nearest of all"
        yield Dependence(f"{place}.vote.by=nearest", does, "imgFp (3rd)", f"{place}.vote.by=radius")


def _of_cut(
    settings: config.Matching, branch: config.Views | config.Agreement | config.Asmk, place: str
) -> Iterator[Dependence]:
    remedy = f"{place}.by=share, with an amount below 1"
    if branch.cut.by == "neighbours":
        does = f"each query view lists its {branch.cut.amount:g} best references"
        yield Dependence(f"{place}.by=neighbours", does, "separate (2nd)", remedy)
    elif branch.cut.by == "rows" and not _final(settings, branch):
        does = "how far its list goes depends on all images, and other scores on the list"
        yield Dependence(f"{place}.by=rows", does, "D2LV (1st)", remedy)


def _final(settings: config.Matching, branch: config.Branch) -> bool:
    """Whether the scores of a branch are those of the list, so that cutting them is cutting the list."""
    later = [other for other in settings.branches if isinstance(other, config.Local | config.Pairs)]
    asked = any(branch.name in other.candidates for other in later)
    # The best of several scores is itself cut by all lists; a sum or mean of them has parts that one list leaves out.
    return not isinstance(branch, config.Agreement) and not asked and settings.fusion.kind == "best"
