"""The spaces that branches compare embeddings in: the Descriptor track's, or one of their own, fitted on train."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isckit import config
from isckit.storage.artifacts import is_fresh, write_receipt
from isckit.storage.descriptors import read_embeddings, write_embeddings
from isckit.storage.meter import measured
from isckit.tracks.run import Run, bank, ensembled, train_vectors, trained_from, weighted_shards
from isckit.types import WHOLE, Embeddings, MissingInput
from isckit.vectors.ensemble import fit_projection, project
from isckit.vectors.pca import load_pca, save_pca
from isckit.vectors.unit import unit

log = logging.getLogger(__name__)


class Place(NamedTuple):
    """A space of a branch: its key, unique in the recipe, the members it is made of, and how."""

    key: str
    members: tuple[str, ...]
    space: config.Space


def places(recipe: config.Recipe) -> Iterator[Place]:
    """All spaces that the recipe's branches have of their own."""
    every = tuple(member.name for member in recipe.members)
    for branch in recipe.matching.viewed:
        if isinstance(branch, config.Agreement):
            for member in branch.members:
                yield Place(f"{branch.name}.{member}", (member,), branch.space)
        elif branch.space is not None:
            yield Place(branch.name, branch.members or every, branch.space)
