"""A finished run on any two folders of images: descriptors and scored pairs. Nothing is trained or fitted here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.data.images import stop_message
from isckit.engine.distributed import Process
from isckit.matching.match import scored_pairs
from isckit.models.members import Built
from isckit.runs import made_from
from isckit.runs.artifacts import file_digest
from isckit.runs.run import Run
from isckit.runs.steps import scratch
from isckit.runs.workspace import DESCRIPTORS, MATCHES, Workspace
from isckit.submission import write_descriptors, write_matches
from isckit.tracks.extraction import extract_set
from isckit.tracks.matching import scene_of
from isckit.types import Embeddings, Matches
from isckit.vectors.described import ensembled, replaced, space_of
from isckit.vectors.normalise import normalise

CACHE = ".isckit-cache"
"""Folder for what is described, in the folder of the output, until that is finished."""
QUERIES, REFERENCES = "queries", "references"
"""The names of the two folders in the cache."""


class Found(NamedTuple):
    """Descriptors of both sets and their scored pairs; `broken`: images of either that do not decode, with reasons."""

    queries: Embeddings
    references: Embeddings
    matches: Matches
    broken: dict[str, dict[str, str]]


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

    Every image is treated as in a submission of the run: same views, ensemble and normalisation. Those that do not
    decode are left out.

    Raises:
        MissingInput: the run has no weights, or was not fitted.
        BadInput: none of a set decodes.
    """
    here = replace(run, cache=cache).extracting(on_broken="replace")
    space = space_of(run)
    images = {QUERIES: replace(queries, name=QUERIES), REFERENCES: replace(references, name=REFERENCES)}
    for image_set in images.values():
        extract_set(here, image_set, process=process, workers=workers, members=members)
    broken = {name: replaced(here, name) for name in images}
    for name, image_set in images.items():
        if len(broken[name]) == len(image_set):
            raise stop_message(broken[name], otherwise="name a folder with images that do")
    described, collection = (normalise(ensembled(here, name), space.normaliser) for name in images)
    scene = scene_of(here, QUERIES, REFERENCES, images=images, process=process, workers=workers, every_pair=True)
    return Found(described, collection, scored_pairs(scene), broken)


def infer(
    run: Run, queries: ImageSet, references: ImageSet, out: Path, *, batch: int | None, process: Process, workers: int
) -> Found:
    """Write the descriptors of both sets, and the scores of their best pairs, into `out`; return them.

    An interrupted command goes on from the cache that it leaves there.

    Args:
        run: trained and fitted.
        queries, references: image sets of these roles.
        out: folder; files there are replaced, both or none.
        batch: images a batch; None for the recipe's.

    Raises:
        MissingInput: the run has no weights, or was not fitted.
        BadInput: none of a set decodes.
    """
    run = run if batch is None else run.extracting(batch_images=batch)
    inputs = made_from.found(
        recipe=config.digest(run.recipe),
        weights=file_digest(run.fitted(run.weights)),
        bank=file_digest(run.fitted(run.workspace.bank(run.name))),
        images=[images.content_digest() for images in (queries, references)],
    )
    with scratch(out / CACHE, inputs, first=process.first) as cache:
        found = find(run, queries, references, cache=cache, process=process, workers=workers)
        if process.first:
            made = [cache.root / name for name in (DESCRIPTORS, MATCHES)]
            write_descriptors(made[0], found.queries, found.references)
            write_matches(made[1], found.matches)
            # Killed between the two, the folder has no list of other images beside these descriptors.
            (out / MATCHES).unlink(missing_ok=True)
            for path in made:
                path.replace(out / path.name)
    return found
