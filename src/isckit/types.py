"""The nouns of the kit: four columnar records, the roles of images, and the errors a user can cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

WHOLE = "whole"
"""Name of the view that is the image itself; the Descriptor track uses no other."""

MAX_ROWS = 500_000
"""Rows a matching submission may have (competition.md 3.1; isc2021 default)."""
MAX_DIM = 256
"""Floats a descriptor may have."""


class Role(StrEnum):
    """The uses an image set may be put to. Only TRAIN and EXTERNAL may be augmented or fitted on."""

    TRAIN = "train"
    REFERENCE = "reference"
    QUERY = "query"
    EXTERNAL = "external"

    @property
    def may_be_fitted_on(self) -> bool:
        """Return True if anything (augmented training, PCA, banks, thresholds) may be fitted on this role."""
        return self in (Role.TRAIN, Role.EXTERNAL)


class KitError(Exception):
    """A fault that the user can mend: what was seen, what is allowed, what to do."""

    def __init__(self, *, seen: str, allowed: str, remedy: str) -> None:
        super().__init__(seen)
        self.seen, self.allowed, self.remedy = seen, allowed, remedy

    def __str__(self) -> str:
        return f"seen:       {self.seen}\nallowed:    {self.allowed}\nwhat to do: {self.remedy}"

    def __reduce__(self) -> tuple:
        # Keyword-only arguments do not survive the default pickling that carries errors out of loader workers.
        return _rebuild, (type(self), self.seen, self.allowed, self.remedy)


def _rebuild(kind: type[KitError], seen: str, allowed: str, remedy: str) -> KitError:
    return kind(seen=seen, allowed=allowed, remedy=remedy)


class BadInput(KitError, ValueError):
    """Input with wrong content: ids, shapes, values, keys."""


class MissingInput(KitError, FileNotFoundError):
    """A file or folder that should be there is not."""


class RuleViolation(KitError):
    """Something that the competition forbids was about to happen."""


class StaleArtifact(KitError):
    """An artifact was made from other inputs than the ones at hand."""


class StorageFull(KitError, OSError):
    """No space left while writing; nothing that stood before was touched."""


@dataclass(frozen=True)
class Embeddings:
    """Vectors of one image set, keyed by (image id, view).

    Attributes:
        role: what the images are; fitting on anything but train raises.
        ids: (n,) text, image id of each row.
        vectors: (n, d) float32.
        view_names: names of the views that occur.
        views: (n,) int16, index into `view_names`.
    """

    role: Role
    ids: np.ndarray
    vectors: np.ndarray
    view_names: tuple[str, ...]
    views: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.ids)
        if self.vectors.ndim != 2 or len(self.vectors) != n or self.views.shape != (n,):
            raise BadInput(
                seen=f"{n} ids, vectors of shape {self.vectors.shape}, views of shape {self.views.shape}",
                allowed="n ids, (n, d) vectors, (n,) view indices",
                remedy="build Embeddings from arrays of one length",
            )
        if self.vectors.dtype != np.float32 or self.ids.dtype.kind != "U":
            raise BadInput(
                seen=f"vectors of {self.vectors.dtype}, ids of {self.ids.dtype}",
                allowed="float32 vectors and text ids",
                remedy="convert with .astype(np.float32) and .astype(str)",
            )

    @staticmethod
    def whole(role: Role, ids: np.ndarray, vectors: np.ndarray) -> Embeddings:
        """Embeddings of whole images only: one row an id."""
        return Embeddings(role, ids, vectors, (WHOLE,), np.zeros(len(ids), np.int16))

    @staticmethod
    def joined(parts: Sequence[Embeddings]) -> Embeddings:
        """Parts of one image set, at least one, with the same views."""
        first = parts[0]
        return Embeddings(
            first.role,
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.vectors for part in parts]),
            first.view_names,
            np.concatenate([part.views for part in parts]),
        )

    def take(self, rows: np.ndarray) -> Embeddings:
        """The given rows (index or boolean mask), as new Embeddings."""
        return Embeddings(self.role, self.ids[rows], self.vectors[rows], self.view_names, self.views[rows])

    def only(self, view: str) -> Embeddings:
        """The rows of one view."""
        return self.take(self.views == self.view_names.index(view))

    def named(self, views: Sequence[str] | None) -> Embeddings:
        """The rows of some views; a name that ends in "*" stands for all that begin with it; None for all views."""
        if views is None or self.view_names == tuple(views):
            return self
        starts = tuple(name[:-1] for name in views if name.endswith("*"))
        kept = [name in views or name.startswith(starts) for name in self.view_names]
        return self.take(np.array(kept, bool)[self.views])

    def with_vectors(self, vectors: np.ndarray) -> Embeddings:
        """The same keys with other vectors."""
        return Embeddings(self.role, self.ids, np.ascontiguousarray(vectors, np.float32), self.view_names, self.views)

    def to_pandas(self) -> pd.DataFrame:
        """Return a copy of the vectors as a table: float32 columns 0 to d - 1, rows indexed by "id" and "view"."""
        import pandas as pd

        views = np.array(self.view_names)[self.views]
        index = pd.MultiIndex.from_arrays([self.ids, views], names=["id", "view"])
        return pd.DataFrame(np.array(self.vectors), index=index)


@dataclass(frozen=True)
class Matches:
    """Scored pairs: three columns of one length; a larger score is more confident."""

    query_ids: np.ndarray
    reference_ids: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.query_ids) == len(self.reference_ids) == len(self.scores):
            raise BadInput(
                seen=f"columns of {len(self.query_ids)}, {len(self.reference_ids)} and {len(self.scores)} rows",
                allowed="three columns of one length",
                remedy="build Matches from columns of one table",
            )

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: np.ndarray) -> Matches:
        """The given rows (index or boolean mask), as new Matches."""
        return Matches(self.query_ids[rows], self.reference_ids[rows], self.scores[rows])

    def to_pandas(self) -> pd.DataFrame:
        """Return a table of the columns of the official format, "query_id", "reference_id" and "score"."""
        import pandas as pd

        return pd.DataFrame({"query_id": self.query_ids, "reference_id": self.reference_ids, "score": self.scores})


@dataclass(frozen=True)
class GroundTruth:
    """True pairs, and every query that was labelled at all (distractors among them).

    Attributes:
        query_ids, reference_ids: (p,) text, the true pairs.
        listed_queries: sorted unique text, all labelled queries.
    """

    query_ids: np.ndarray
    reference_ids: np.ndarray
    listed_queries: np.ndarray

    def to_pandas(self) -> pd.DataFrame:
        """Return a table of "query_id" and "reference_id": the true pairs, then the distractors without a reference."""
        import pandas as pd

        pairs = pd.DataFrame({"query_id": self.query_ids, "reference_id": self.reference_ids}, dtype="str")
        distractors = pd.DataFrame({"query_id": np.setdiff1d(self.listed_queries, self.query_ids)}, dtype="str")
        return pd.concat([pairs, distractors], ignore_index=True)
