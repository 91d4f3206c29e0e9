"""The views of an image that a member describes: those of every image, and those that were found in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from isckit import config
from isckit.types import WHOLE
from isckit.views.geometry import View, view_set
from isckit.views.overlays import surest
from isckit.views.table import Table

PROPOSALS, OVERLAYS = "proposals", "overlays"
"""View sets that differ from image to image."""


@dataclass(frozen=True)
class Wanted:
    """Views of an image set. Found views come behind the fixed ones, proposals before overlays.

    Attributes:
        fixed: the same for every image, the whole image first.
        proposals: settings of the view set "proposals", None where it is not wanted.
        overlays: of "overlays".
        substitution: what takes the place of images; such an image has no overlays on it where the detector that
            finds them decided so.
    """

    fixed: tuple[View, ...] = (View(WHOLE),)
    proposals: config.Proposals | None = None
    overlays: config.Overlays | None = None
    substitution: config.Substitution | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all views that an image may have."""
        counts = {
            "proposal": self.proposals.most if self.proposals else 0,
            "overlay": self.overlays.most if self.overlays else 0,
        }
        found = (f"{kind}_{k:02d}" for kind, count in counts.items() for k in range(count))
        return (*(view.name for view in self.fixed), *found)

    @property
    def finds(self) -> bool:
        """Whether some of the views have to be found first."""
        return self.proposals is not None or self.overlays is not None

    def found(self, table: Table, row: int) -> tuple[View, ...]:
        """The views that were found in an image."""
        views = []
        if self.proposals is not None:
            boxes = enumerate(table.proposals_of(row).tolist())
            views += [View(f"proposal_{k:02d}", tuple(box)) for k, box in boxes]
        if self.overlays is not None and not self._replaced(table, row):
            boxes = enumerate(table.overlays_of(row, self.overlays))
            views += [View(f"overlay_{k:02d}", (b.y0, b.x0, b.y1 - b.y0, b.x1 - b.x0)) for k, b in boxes]
        return tuple(views)

    def _replaced(self, table: Table, row: int) -> bool:
        if self.substitution is None or self.substitution.boxes:
            return False
        return surest(table.boxes_of(row), self.substitution.confidence) is not None


WHOLE_ONLY = Wanted()


def wanted(view_sets: Sequence[str], recipe: config.Recipe, *, substitution: config.Substitution | None) -> Wanted:
    """The views of some sets.

    Raises:
        BadInput: an unknown set.
    """
    return Wanted(
        view_set(tuple(dict.fromkeys(name for name in view_sets if name not in (PROPOSALS, OVERLAYS)))),
        recipe.proposals if PROPOSALS in view_sets else None,
        recipe.overlays if OVERLAYS in view_sets else None,
        substitution if OVERLAYS in view_sets else None,
    )
