"""isckit: a submission kit for the Image Similarity Challenge 2021, and for image copy detection after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from isckit.api import Model as Model
    from isckit.api import load as load
    from isckit.api import score as score


def __getattr__(name: str) -> Any:
    """Return `load`, `score` or `Model` from isckit.api, which is imported when it is asked for."""
    if name in ("load", "score", "Model"):
        from isckit import api

        return getattr(api, name)
    raise AttributeError(f"module 'isckit' has no attribute {name!r}")
