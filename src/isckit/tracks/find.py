"""A finished run on any two folders of images: descriptors and scored pairs. Nothing is trained or fitted here."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.engine.distributed import Process
from isckit.matching.match import scored_pairs
from isckit.models.members import Built
from isckit.runs.run import Run
from isckit.runs.workspace import DESCRIPTORS, MATCHES, Workspace
from isckit.submission import write_descriptors, write_matches
from isckit.tracks.extraction import extract_set
from isckit.tracks.matching import scene_of
from isckit.types import Embeddings, Matches
from isckit.vectors.described import ensembled, space_of
from isckit.vectors.normalise import normalise

QUERIES, REFERENCES = "queries", "references"
"""What the two folders are called in the cache."""


class Found(NamedTuple):
    """Descriptors of both sets, and their scored pairs."""

    queries: Embeddings
    references: Embeddings
    matches: Matches


def find(
    run: Run,
    queries: ImageSet,
    references: ImageSet,
    *,
    cache: Workspace,
    process: Process,
    workers: int,
    members: Sequence[Built] | None = None,
) -> Found:
    """Return the descriptors of both sets, and the scores of their pairs; what is described lies in `cache`.

    Every image is treated as in a submission of the run: same views, ensemble and normalisation.

    Raises:
        MissingInput: the run has no weights, or was not fitted.
    """
    here = replace(run, cache=cache)
    space = space_of(run)
    images = {QUERIES: replace(queries, name=QUERIES), REFERENCES: replace(references, name=REFERENCES)}
    for image_set in images.values():
        extract_set(here, image_set, process=process, workers=workers, members=members)
    described, collection = (normalise(ensembled(here, name), space.normaliser) for name in images)
    scene = scene_of(here, QUERIES, REFERENCES, images=images, process=process, workers=workers, every_pair=True)
    return Found(described, collection, scored_pairs(scene))


def infer(
    run: Run, queries: ImageSet, references: ImageSet, out: Path, *, batch: int | None, process: Process, workers: int
) -> tuple[Path, Path]:
    """Write the descriptors of both sets, and the scores of their best pairs, into `out`.

    Args:
        run: trained and fitted.
        queries, references: image sets of these roles.
        out: folder; files there are replaced.
        batch: images a batch; None for the recipe's.

    Raises:
        MissingInput: the run has no weights, or was not fitted.
    """
    if batch is not None:
        extract = config.replace(run.recipe.extract, batch_images=batch)
        run = replace(run, recipe=replace(run.recipe, extract=extract))
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".embeddings-") as folder:
        found = find(run, queries, references, cache=Workspace(Path(folder)), process=process, workers=workers)
        write_descriptors(out / DESCRIPTORS, found.queries, found.references)
        write_matches(out / MATCHES, found.matches)
    return out / DESCRIPTORS, out / MATCHES
