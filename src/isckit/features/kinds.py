"""The kinds of local features by name; a new one is its file and a line here."""

from __future__ import annotations

from collections.abc import Callable

from isckit.config import Keypoints
from isckit.features.orb import Orb
from isckit.features.points import LocalFeature
from isckit.features.sift import RootSift
from isckit.types import BadInput

FEATURES: dict[str, Callable[[Keypoints], LocalFeature]] = {"sift": RootSift, "orb": Orb}


def feature_of(settings: Keypoints) -> LocalFeature:
    """Return the local feature that settings name.

    Raises:
        BadInput: there is no such kind.
    """
    if settings.kind not in FEATURES:
        raise BadInput(
            seen=f"local features of kind {settings.kind!r}",
            allowed=", ".join(FEATURES),
            remedy="correct keypoints.kind in the recipe",
        )
    return FEATURES[settings.kind](settings)
