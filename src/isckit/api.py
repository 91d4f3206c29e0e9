"""The kit from Python: load a model, describe images, match two sets, score the pairs.

    >>> import isckit
    >>> model = isckit.load()                            # doctest: +SKIP
    >>> vectors = model.describe("photos/")              # doctest: +SKIP
    >>> pairs = model.match("suspects/", "originals/")   # doctest: +SKIP
    >>> report = isckit.score(pairs, "truth.csv")        # doctest: +SKIP

Nothing is left behind: what a call writes lies in a temporary folder while it runs.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image, ImageOps

from isckit.data.image_sets import ImageSet, given_images
from isckit.data.images import listed
from isckit.data.layouts import open_folder
from isckit.judge.score.report import score as score_path
from isckit.judge.score.score import ScoreReport, score_matches
from isckit.runs.run import Run, resume
from isckit.runs.workspace import DEFAULT, Workspace
from isckit.types import BadInput, Embeddings, GroundTruth, Matches, Role

if TYPE_CHECKING:
    from isckit.engine.distributed import Process
    from isckit.models.members import Built

log = logging.getLogger(__name__)

Images = str | Path | Iterable["str | Path | Image.Image | np.ndarray"]
"""A folder, or images: paths, PIL images, or (H, W, 3) uint8 RGB arrays."""


@dataclass(frozen=True, eq=False)
class Model:
    """A trained run, its weights read once.

    Attributes:
        run: recipe, weights, and what was fitted.
        workers: image loading processes; 0 decodes in this one, which is faster for a handful of images.
    """

    run: Run
    workers: int = 0

    def describe(
        self, images: Images, *, side: Literal["reference", "query"] = "reference", normalised: bool = False
    ) -> Embeddings:
        """Return the descriptors of whole images: unit vectors (n, d) float32, d at most 256, with their ids.

        Ids are file names without suffix for a folder, paths as given for a list of paths, and "image_000000" and so
        on, in order, for pictures; rows are in the order of the images, for a folder by id. Images that do not decode
        have none, and a warning names them.

        Args:
            images: a folder, or images.
            side: as what the recipe treats them.
            normalised: apply the recipe's normalisation of scores too, as the Descriptor track does.

        Raises:
            MissingInput: no such images; the run was not fitted.
            BadInput: no image decodes.
        """
        from isckit.tracks.extraction import describe_set
        from isckit.vectors.normalise import normalise
        from isckit.vectors.pca import project

        role = Role(side)
        opened, order = _opened(images, role)
        with self._here() as (run, process):
            parts = describe_set(run, opened, process=process, workers=self.workers, members=self._members)
            found = Embeddings.joined([project(part, self._space.pca) for part in parts])
        found = normalise(found, self._space.normaliser) if normalised else found
        if order is None:
            return found
        places = {name: row for row, name in enumerate(found.ids.tolist())}
        return found.take(np.array([places[name] for name in order if name in places], np.int64))

    def match(self, queries: Images, references: Images) -> Matches:
        """Return the scored pairs of two sets, the best first: a larger score is more confident.

        Images that do not decode have none, and a warning names them.

        Raises:
            MissingInput: no such images; the run was not fitted.
            BadInput: none of a set decodes.
        """
        from isckit.tracks.find import find

        sides = _opened(queries, Role.QUERY)[0], _opened(references, Role.REFERENCE)[0]
        with self._here() as (run, process):
            assert run.cache is not None
            found = find(run, *sides, cache=run.cache, process=process, workers=self.workers, members=self._members)
        if left := {name: why for broken in found.broken.values() for name, why in broken.items()}:
            log.warning("left out: %s", listed(left))
        return found.matches

    @functools.cached_property
    def _members(self) -> list[Built]:
        from isckit.engine.distributed import process
        from isckit.tracks.extraction import read_members

        with process() as here:
            return read_members(self.run, process=here)

    @functools.cached_property
    def _space(self) -> Any:
        from isckit.vectors.described import space_of

        return space_of(self.run)

    @contextlib.contextmanager
    def _here(self) -> Iterator[tuple[Run, Process]]:
        """Give the run with a cache that is gone afterwards."""
        from isckit.engine.distributed import process

        with process() as here, tempfile.TemporaryDirectory(prefix="isckit-") as folder:
            yield replace(self.run, cache=Workspace(Path(folder))), here


@functools.cache
def load(name: str = DEFAULT, *, root: str | Path = ".", workers: int = 0) -> Model:
    """Return a model: the default, or a run that was trained and fitted.

    The same arguments give the same model, and its weights are read once.

    Args:
        name: of the run.
        root: folder that holds checkpoints/.
        workers: image loading processes.

    Raises:
        MissingInput: there is no such run.
    """
    return Model(resume(Workspace.of(Path(root), name), name).intact(), workers)


def score(pairs: Matches | str | Path, truth: GroundTruth | str | Path, *, bootstrap: int = 0) -> ScoreReport:
    """Return uAP, Recall@P90 and the rest of scored pairs, by the contest's protocol.

    Args:
        pairs: matches, or a submission's file: .csv, or .h5 of descriptors.
        truth: ground truth, or its CSV.
        bootstrap: resamples for an interval; 0 for none. Files alone have one.

    Raises:
        MissingInput: there is no such file.
        BadInput: files with faults; pairs of other queries than those of the truth.
    """
    from isckit.data.ground_truth import read_ground_truth

    if isinstance(pairs, (str, Path)):
        return score_path(Path(pairs), Path(str(truth)), protocol="global", k=10, bootstrap=bootstrap)
    known = truth if isinstance(truth, GroundTruth) else read_ground_truth(Path(truth))
    return score_matches(pairs, known, max_rows=max(1, len(pairs)), phase_queries=np.unique(pairs.query_ids))


def _opened(images: Images, role: Role) -> tuple[ImageSet, list[str] | None]:
    """Return the images, and their ids in the order given; None for a folder's own."""
    if isinstance(images, (str, Path)):
        return open_folder(Path(images), role), None
    sources: dict[str, Path | bytes] = {}
    for number, image in enumerate(images):
        name = str(image) if isinstance(image, (str, Path)) else f"image_{number:06d}"
        if name in sources:
            raise BadInput(seen=f"{name} twice", allowed="each image once", remedy="leave one of them out")
        sources[name] = Path(image) if isinstance(image, (str, Path)) else _encoded(image, name)
    return given_images(sources, role), list(sources)


def _encoded(image: Image.Image | np.ndarray, name: str) -> bytes:
    """Return a picture in memory as a file without loss."""
    if isinstance(image, np.ndarray):
        if image.ndim not in (2, 3) or image.dtype != np.uint8 or (image.ndim == 3 and image.shape[2] != 3):
            raise BadInput(
                seen=f"{name}: an array of {image.dtype} and shape {image.shape}",
                allowed="(H, W, 3) uint8 in RGB, or (H, W) uint8",
                remedy="convert it before",
            )
        image = Image.fromarray(image)
    upright = ImageOps.exif_transpose(image)
    # Modes that PNG does not know are converted as the decoder would: TIFF keeps them as they are.
    kept = io.BytesIO()
    upright.save(kept, "TIFF" if upright.mode in ("CMYK", "YCbCr", "LAB", "F", "RGBX") else "PNG")
    return kept.getvalue()
