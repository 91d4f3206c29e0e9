"""The answers of the settings of every branch of the Matching track; `config.branches` has the kinds there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

from isckit.config.pairs import PairNetwork
from isckit.config.spaces import Space
from isckit.types import Role


class Dependence(NamedTuple):
    """A step that looks at other images: its setting, what it does, who did it, and a setting that does not."""

    setting: str
    does: str
    source: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.does}, as {self.source} did; without: {self.remedy}"


class OwnSpace(NamedTuple):
    """A space of a branch: its key, unique in the recipe, and the members it is made of."""

    key: str
    members: tuple[str, ...]
    space: Space


class Needs(NamedTuple):
    """The facts that a branch needs of each image of a role, beside embeddings: detected overlays, faces, sizes."""

    boxes: bool = False
    faces: bool = False
    sizes: bool = False


class BranchSettings:
    """The answers of the settings of every branch, so that nothing else asks which kind a branch is.

    `kind` is the name of its file in matching/branches. The answers here are those of a branch that looks at no
    embeddings, trains nothing and takes no pairs of others.
    """

    @property
    def reads(self) -> tuple[str, ...]:
        """Members that it reads, by name; () for all, or where it reads none."""
        return ()

    @property
    def takes(self) -> tuple[str, ...]:
        """Branches before it whose pairs it takes."""
        return ()

    @property
    def trains(self) -> tuple[PairNetwork, ...]:
        """Networks that it needs trained, and that look at pixels when it matches."""
        return ()

    @property
    def compares_views(self) -> bool:
        """True where it compares embeddings of views."""
        return False

    @property
    def embeddings_only(self) -> bool:
        """True where it looks at nothing of an image but embeddings."""
        return False

    def view_sets(self, role: Role) -> tuple[str, ...]:
        """Return the view sets that it compares of images of a role, beside the whole image."""
        return ()

    def spaces(self, every: tuple[str, ...]) -> Iterator[OwnSpace]:
        """Yield the spaces of its own; `every`: names of all members."""
        yield from ()

    def needs(self, role: Role) -> Needs:
        """Return what it has to know of each image of a role."""
        return Needs()

    def dependences(self, *, final: bool) -> Iterator[Dependence]:
        """Yield what of it looks at other images; `final`: cutting its list is cutting the list that is handed in."""
        yield from ()

    def with_trained(self, change: Callable[[PairNetwork], PairNetwork]) -> Self:
        """Return the same branch with its trained networks changed."""
        return self
