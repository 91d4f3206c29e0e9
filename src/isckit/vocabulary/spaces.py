"""How vectors of ensemble members become the vectors that are compared, and which compared pairs go on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from isckit.vocabulary.base import STRICT, Count, NotNegative, Positive
from isckit.workspace import MAX_DIM


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Ensemble:
    """Members to one descriptor of `dim` values.

    pca: concatenated members -> PCA fitted on train -> L2; `whiten` is the eigenvalue power: 0 none, 0.5 full.
    shared: members that share one space (titanshield2): references and train by the first member, queries by the mean
    of the others.
    """

    how: Literal["pca", "shared"] = "pca"
    dim: Annotated[int, Field(gt=0, le=MAX_DIM)] = 256
    whiten: NotNegative = 0.25
    fit_images: Count = 200_000


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Space:
    """A space of the Matching track, where descriptors may be of any width.

    Members are concatenated, reduced by a PCA fitted on train, and set to unit length; `dim` 0 leaves them as they are.
    """

    dim: int = 0
    whiten: NotNegative = 0.0
    fit_images: Count = 200_000


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Cut:
    """Which scored pairs of views go on.

    rows: the best `amount` rows a query on average, over all queries together (D2LV: 20).
    neighbours: of every query view its `amount` best references (separate); this looks at other references.
    share: all above the score that a share of `amount` of unrelated pairs of train images reaches; this looks at
    nothing but the pair, and is fitted once, on train.
    """

    by: Literal["rows", "neighbours", "share"] = "rows"
    amount: Positive = 10.0
