"""A post-processing step of one's own: take the mean of train off every vector, and set it to unit length again.

In the package it is a function in `src/isckit/vectors/normalise.py`, its settings in `src/isckit/config/spaces.py`, and
a case in `fit_normaliser`. A step is fitted on train alone, and maps each row by itself (rule 5.5).

    python examples/own_step.py
"""

from functools import partial

import numpy as np

from isckit.types import Embeddings, Role
from isckit.vectors.checks import l2, refuse_unless_fittable
from isckit.vectors.normalise import Normaliser, normalise


def centre(x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return (n, d) float32 unit vectors, with the mean (d,) taken off."""
    return l2(x - mean)


def fit_centre(train: Embeddings) -> Normaliser:
    """Fit the step on train: the same map for queries and references.

    Raises:
        RuleViolation: the vectors are those of queries or references.
    """
    refuse_unless_fittable(train.role, what="a centre")
    step = partial(centre, mean=train.vectors.mean(axis=0))
    return Normaliser(queries=(step,), references=(step,))


def main() -> tuple[float, float]:
    """Return the mean similarity of unrelated vectors before and after the step."""
    rng = np.random.default_rng(1)
    made = l2((rng.normal(size=(300, 32)) + 1.5).astype(np.float32))  # all on one side, as young networks' often are
    ids = np.array([f"T{number:06d}" for number in range(300)])
    train = Embeddings.whole(Role.TRAIN, ids[:200], made[:200])
    queries = Embeddings.whole(Role.QUERY, ids[200:], made[200:])
    centred = normalise(queries, fit_centre(train))
    similar = [float((x @ x.T)[np.triu_indices(100, 1)].mean()) for x in (queries.vectors, centred.vectors)]
    print(f"mean similarity of unrelated vectors: {similar[0]:.2f} before, {similar[1]:.2f} after")
    return similar[0], similar[1]


if __name__ == "__main__":
    main()
