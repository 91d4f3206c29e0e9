"""What a branch of the Matching track has at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from isckit.data.image_sets import ImageSet
from isckit.tracks.run import Run
from isckit.types import MissingInput

if TYPE_CHECKING:
    from isckit.engine.distributed import Place


@dataclass(frozen=True)
class Scene:
    """A run, the two image sets that are matched, by name, and what branches that look at pixels need beside.

    Attributes:
        query_ids, reference_ids: sorted text, all images of both sets.
        images: the sets that were opened, by name.
        rows: rows of the list that is handed in.
    """

    run: Run
    queries: str
    references: str
    query_ids: np.ndarray
    reference_ids: np.ndarray
    rows: int
    images: Mapping[str, ImageSet] = field(default_factory=dict)
    place: Place | None = None
    workers: int = 0

    def opened(self, name: str) -> ImageSet:
        """An image set, for branches that look at pixels.

        Raises:
            MissingInput: matching was begun without images.
        """
        if name not in self.images:
            raise MissingInput(
                seen=f"a branch that looks at images of {name}, and no --data",
                allowed="a folder with the images",
                remedy="pass --data DIR",
            )
        return self.images[name]
