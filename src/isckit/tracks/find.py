"""A finished run on any two folders of images: descriptors and scored pairs. Nothing is trained or fitted here."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.engine.distributed import Place
from isckit.matching.match import scored_pairs
from isckit.runs.run import Run
from isckit.runs.workspace import DESCRIPTORS, MATCHES, Workspace
from isckit.submission import write_descriptors, write_matches
from isckit.tracks.extraction import extract_set
from isckit.tracks.matching import scene_of
from isckit.vectors.described import bank, ensembled
from isckit.vectors.normalise import fit_normaliser, normalise

QUERIES, REFERENCES = "queries", "references"
"""What the two folders are called in the cache."""


def infer(
    run: Run, queries: ImageSet, references: ImageSet, out: Path, *, batch: int | None, place: Place, workers: int
) -> tuple[Path, Path]:
    """Write the descriptors of both sets, and the scores of their best pairs, into `out`.

    Every image is treated as in a submission of the run: same views, ensemble and normalisation.

    Args:
        run: trained and fitted.
        queries, references: image sets of these roles.
        out: folder; files there are replaced.
        batch: images a batch; None for the recipe's.

    Raises:
        MissingInput: the run has no weights, or was not fitted.
    """
    recipe = run.recipe
    if batch is not None:
        recipe = replace(recipe, extract=config.replace(recipe.extract, batch_images=batch))
    out.mkdir(parents=True, exist_ok=True)
    normaliser = fit_normaliser(bank(run), recipe.normalise)
    images = {QUERIES: replace(queries, name=QUERIES), REFERENCES: replace(references, name=REFERENCES)}
    with tempfile.TemporaryDirectory(dir=out, prefix=".embeddings-") as folder:
        here = replace(run, recipe=recipe, cache=Workspace(Path(folder)))
        for image_set in images.values():
            extract_set(here, image_set, place=place, workers=workers)
        sides = [normalise(ensembled(here, name), normaliser) for name in images]
        write_descriptors(out / DESCRIPTORS, sides[0], sides[1])
        scene = scene_of(here, QUERIES, REFERENCES, images=images, place=place, workers=workers, every_pair=True)
        write_matches(out / MATCHES, scored_pairs(scene))
    return out / DESCRIPTORS, out / MATCHES
