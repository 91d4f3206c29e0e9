"""A finished run on any two folders of images: descriptors and scored pairs. Nothing is trained or fitted here."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.engine.distributed import Place
from isckit.submission import write_descriptors, write_matches
from isckit.tracks.matching import match
from isckit.tracks.extraction import extract_set
from isckit.tracks.run import Run, bank, ensembled
from isckit.types import WHOLE
from isckit.vectors.normalise import fit_normaliser, normalise
from isckit.workspace import DESCRIPTORS, MATCHES, MAX_ROWS, Workspace


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
    background = bank(run)
    with tempfile.TemporaryDirectory(dir=out, prefix=".embeddings-") as folder:
        here = replace(run, recipe=recipe, cache=Workspace(Path(folder)))
        for images in (queries, references):
            extract_set(here, images, place=place, workers=workers)
        described = [ensembled(here, images.name) for images in (queries, references)]
    normaliser = fit_normaliser(background, recipe.normalise)
    sides = [normalise(side.only(WHOLE), normaliser) for side in described]
    write_descriptors(out / DESCRIPTORS, sides[0], sides[1])
    rows = min(len(queries) * len(references), MAX_ROWS)
    write_matches(out / MATCHES, match(here, described[0], described[1], background, rows=rows))
    return out / DESCRIPTORS, out / MATCHES
