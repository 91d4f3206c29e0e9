"""Random unit vectors and embeddings of them, for tests of steps that are fitted on train."""

import numpy as np

from isckit.types import Embeddings, Role


def unit(seed, n, d=16):
    """Random directions, (n, d) float32."""
    x = np.random.default_rng(seed).standard_normal((n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def made(role, vectors, prefix="X"):
    """Embeddings of whole images."""
    x = np.asarray(vectors, np.float32)
    return Embeddings.whole(role, np.array([f"{prefix}{i:05d}" for i in range(len(x))]), x)


def train(vectors):
    """Embeddings of train images."""
    return made(Role.TRAIN, vectors, "T")


def top(q, bank, n):
    """Mean similarity of each row with its n most similar bank rows, (m,) float64, by sorting."""
    return np.sort(q.astype(np.float64) @ bank.astype(np.float64).T, axis=1)[:, -n:].mean(axis=1)


def negated_distances(q, r):
    """(m, k) float64: minus the squared Euclidean distance of every pair."""
    return -np.square(q[:, None].astype(np.float64) - r.astype(np.float64)).sum(axis=2)
