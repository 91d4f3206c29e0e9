"""The images that a recipe trains on, the part of them that one stage uses, and the record of those that were read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isckit import config
from isckit.data.ground_truth import PUBLIC_QUERIES, disc_numbers, read_ground_truth
from isckit.data.image_sets import ImageSet
from isckit.data.layouts import Disc, require
from isckit.runs.records import Witnessed, read_lines
from isckit.types import BadInput, MissingInput, RuleViolation


@dataclass(frozen=True)
class TrainingData:
    """Images to train on.

    Attributes:
        train: train images, which alone may be edited.
        queries, references: of phase 1; None where no stage asks for them. They are used as they are.
        pairs: (p, 2) rows of `queries` and `references`: the public true pairs; None where no stage asks for them.
        faces: (f,) rows of `train` that show a face; None where no stage asks for them (see `views.faces`).
    """

    train: ImageSet
    queries: ImageSet | None = None
    references: ImageSet | None = None
    pairs: np.ndarray | None = None
    faces: np.ndarray | None = None

    def digest(self) -> str:
        """Return the sha256 of all of it."""
        queries = self.queries
        if queries is not None and self.pairs is not None:  # no other query may be opened
            queries = queries.subset(np.unique(self.pairs[:, 0]))
        sets = [images for images in (self.train, queries, self.references) if images is not None]
        sha = hashlib.sha256("\n".join(images.content_digest() for images in sets).encode())
        if self.pairs is not None:
            sha.update(self.pairs.astype("<i8").tobytes())
        if self.faces is not None:
            sha.update(b"faces" + self.faces.astype("<i8").tobytes())
        return sha.hexdigest()


def training_data(disc: Disc, train: ImageSet, stages: tuple[config.Stage, ...]) -> TrainingData:
    """Return the images of a data set that these stages need, beside its train images.

    Raises:
        MissingInput: a stage uses references or public pairs, and they are not there.
    """
    with_pairs = any(stage.data.anchors == "pairs" for stage in stages)
    if not with_pairs and all(stage.data.negatives != "references" for stage in stages):
        return TrainingData(train)
    references = require(disc, "references")
    if not with_pairs:
        return TrainingData(train, references=references)
    queries = require(disc, "queries")
    return TrainingData(train, queries, references, _public_pairs(disc, queries, references))


def _public_pairs(disc: Disc, queries: ImageSet, references: ImageSet) -> np.ndarray:
    """Return rows of the true pairs of phase 1 that were given out, as far as both images are there."""
    path = disc.ground_truth.get(1)
    if path is None:
        raise MissingInput(
            seen=f"no ground truth of phase 1 in {disc.root}",
            allowed="the public pairs, where a stage of the recipe trains on them",
            remedy="add public_ground_truth.csv, or leave that stage out (--set members.NAME.stages=[...])",
        )
    truth = read_ground_truth(path)
    # Hidden labels train nothing (rule 5.2), even where a later release of the data set has them.
    public = disc_numbers(truth.query_ids, "Q") < PUBLIC_QUERIES
    rows = []
    for images, ids in ((queries, truth.query_ids[public]), (references, truth.reference_ids[public])):
        at = np.minimum(np.searchsorted(images.ids, ids), len(images) - 1)
        rows.append(np.where(images.ids[at] == ids, at, -1))
    pairs = np.stack(rows, axis=1)
    pairs = pairs[(pairs >= 0).all(axis=1)]
    if not len(pairs):
        raise MissingInput(
            seen=f"no public pair of {path} has both its images in {disc.root}",
            allowed="queries and references of the public half of phase 1",
            remedy="check that ground truth and images belong together",
        )
    return pairs


@dataclass(frozen=True)
class StageImages:
    """The images of one stage.

    Attributes:
        training_data: all images of the run.
        anchors: (a,) rows of train; or (a, 2) rows of queries and references.
        labels: (train images,) label of each train row: anchors have 0 to a - 1, in order; the others those after it.
        partners: rows of train that overlays are taken from.
        pool: rows of train, or of references, that negatives are drawn from; empty where there are none.
        pool_set: the image set whose rows these are.
        negatives: number drawn beside each anchor.
        own: (a,) rows of the pool's set, the one negative of each anchor; None where they are drawn.
    """

    training_data: TrainingData
    anchors: np.ndarray
    labels: np.ndarray
    partners: np.ndarray
    pool: np.ndarray
    pool_set: ImageSet
    negatives: int
    own: np.ndarray | None = None

    @property
    def paired(self) -> bool:
        """True where the anchors are true pairs, so that nothing is edited."""
        return self.anchors.ndim == 2

    def pool_labels(self, rows: np.ndarray) -> np.ndarray:
        """Return the labels of negatives: a reference's lie above those of all train images."""
        return self.labels[rows] if self.pool_set is self.training_data.train else len(self.labels) + rows

    def draw_negatives(self, anchors: np.ndarray, *, key: tuple[int, ...]) -> np.ndarray:
        """Return (n, negatives) rows of the pool's set for n anchors: their own, or drawn with replacement."""
        if self.own is not None:
            return self.own[anchors, None]
        drawn = np.random.default_rng(key).integers(max(1, len(self.pool)), size=(len(anchors), self.negatives))
        return self.pool[drawn] if self.negatives else np.zeros((len(anchors), 0), np.int64)


def stage_images(training_data: TrainingData, data: config.Data) -> StageImages:
    """Return the part of the training data that a stage uses.

    Raises:
        RuleViolation: the train images are queries or references.
        BadInput: fewer train images than classes asked for, or nothing left to draw from.
    """
    train = training_data.train
    if not train.role.may_be_fitted_on:
        raise RuleViolation(
            seen=f"augmented training on the {train.role} images of {train.name}",
            allowed="augmentation of train images or of declared external images only",
            remedy="train on the train images",
        )
    rows = np.arange(0, len(train), data.every)
    if data.ids > len(rows):
        raise BadInput(
            seen=f"{len(rows)} train images for {data.ids} classes",
            allowed="a train image for each class",
            remedy="lower stages.NAME.data.ids, or train on more images",
        )
    rows = rows[: data.ids] if data.ids else rows
    if data.faces:
        assert training_data.faces is not None, "no faces were detected"
        rows = np.union1d(rows, training_data.faces)
    rest = np.setdiff1d(np.arange(len(train)), rows)
    labels = np.empty(len(train), np.int64)
    labels[np.concatenate([rows, rest])] = np.arange(len(train))
    # Where every train image is a class there are no others to take overlays from.
    partners = rest if data.partners == "others" and len(rest) else np.arange(len(train))
    if data.anchors == "pairs":
        assert training_data.pairs is not None
        anchors = training_data.pairs
    else:
        anchors = rows
    return StageImages(training_data, anchors, labels, partners, *_pool(training_data, data), data.negatives_per_anchor)


def _pool(training_data: TrainingData, data: config.Data) -> tuple[np.ndarray, ImageSet]:
    """Return the rows that negatives are drawn from, and the image set they count in."""
    if data.negatives != "references":
        return np.arange(0 if data.negatives == "none" else len(training_data.train)), training_data.train
    assert training_data.references is not None
    rows = np.arange(len(training_data.references))
    if data.anchors == "pairs":
        assert training_data.pairs is not None
        rows = np.setdiff1d(rows, training_data.pairs[:, 1])
    if not len(rows):
        raise BadInput(
            seen="every reference is in a public pair",
            allowed="references without a pair, to draw negatives from",
            remedy="set stages.NAME.data.negatives=train",
        )
    return rows, training_data.references


@dataclass(frozen=True)
class Witness:
    """A file to which one line an item is appended; loader processes may share it.

    Attributes:
        path: of the file.
        epoch: number of the pass over the images.
    """

    path: Path
    epoch: int

    def note(self, role: str, ids: Sequence[str], pixels: np.ndarray) -> None:
        """Append an item: role and ids of the images it is made from, the first its own; side and digest.

        `pixels` are (..., side, side, 3) uint8.
        """
        digest = hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()
        item = {"epoch": self.epoch, "role": role, "ids": list(ids), "side": pixels.shape[-2], "sha256": digest}
        line = json.dumps(item) + "\n"
        # One write in append mode, so that lines of several processes do not mix.
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)


def read_witness(path: Path) -> list[dict]:
    """Return the items written down so far: {"epoch", "role", "ids", "side", "sha256"}."""
    return read_lines(path, Witnessed, remedy="train again, under watch") if path.is_file() else []
