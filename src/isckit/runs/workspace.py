"""Every path and file name of a run, and what a phase is. No other module spells a path."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from isckit.types import BadInput

PHASES = (1, 2)
METRICS = "metrics.jsonl"
"""Training log of a part, a line an epoch, in its folder of training."""
DEFAULT = "default"
"""Name of the run that the kit ships, trained and fitted."""


def query_set(phase: int) -> str:
    """Name of the query set of a phase.

    Raises:
        BadInput: the phase is neither 1 nor 2.
    """
    if phase not in PHASES:
        raise BadInput(seen=f"phase {phase}", allowed="1 or 2", remedy="pass --phase 1 or --phase 2")
    return "queries" if phase == 1 else "final_queries"


_NAME = re.compile(r"[^\W_]([\w.+@ -]{0,148}[\w+@-])?")


def _named(name: str) -> str:
    """Return the name of a run, which is a folder's name on every system.

    Raises:
        BadInput: it is none: a path, say.
    """
    if not _NAME.fullmatch(name):
        raise BadInput(
            seen=f"{name!r} as the name of a run",
            allowed="letters, digits, blanks and . _ - + @ within, at most 150, a letter or digit first",
            remedy="choose another --name; the folder of all runs is chosen with --root",
        )
    return name


@dataclass(frozen=True)
class Workspace:
    """The folders below one root: checkpoints/, submissions/, cache/."""

    root: Path

    @staticmethod
    def of(root: Path, name: str) -> Workspace:
        """Return the workspace below `root`; for the run that the kit ships, the kit's own, unless `root` has one so
        named.
        """
        if name == DEFAULT and not Workspace(root).recipe(name).is_file():
            return Workspace(Path(__file__).parents[3])
        return Workspace(root)

    @staticmethod
    def locate(folder: Path) -> tuple[Workspace, int, str]:
        """Return the workspace, phase and name of a submission folder.

        Raises:
            BadInput: the folder is not submissions/phase1/NAME or submissions/phase2/NAME.
        """
        folder = Path(os.path.realpath(folder))  # Path.resolve ends in an error where links go round
        if folder.parent.name not in ("phase1", "phase2") or folder.parent.parent.name != "submissions":
            raise BadInput(
                seen=f"folder {folder}",
                allowed="a folder submissions/phase1/NAME or submissions/phase2/NAME",
                remedy="pass such a folder, or a single .csv or .h5 file",
            )
        return Workspace(folder.parents[2]), int(folder.parent.name[-1]), folder.name

    def checkpoint(self, name: str) -> Path:
        """Return the folder of a run's weights and of all that is fitted: what phase 2 may load and never refit."""
        return self.root / "checkpoints" / _named(name)

    def weights(self, name: str) -> Path:
        """Return the weights of all trained members, one safetensors file."""
        return self.checkpoint(name) / "weights.safetensors"

    def recipe(self, name: str) -> Path:
        """Return the resolved recipe."""
        return self.checkpoint(name) / "recipe.json"

    def training(self, name: str, member: str) -> Path:
        """Return the folder of the resumable training state and metrics.jsonl of one member."""
        return self.checkpoint(name) / "training" / member

    def stage(self, name: str, member: str, stage: str) -> Path:
        """Return the weights of one member as a stage of its training left them."""
        return self.training(name, member) / f"{stage}.safetensors"

    def ensemble(self, name: str) -> Path:
        """Return the PCA fitted on train."""
        return self.checkpoint(name) / "ensemble.npz"

    def bank(self, name: str) -> Path:
        """Return the ensembled train vectors, the background of every normalisation."""
        return self.checkpoint(name) / "bank.h5"

    def space(self, name: str, key: str) -> Path:
        """Return the folder of a space that a branch has of its own: PCA and bank."""
        return self.checkpoint(name) / "spaces" / key

    def threshold(self, name: str, key: str) -> Path:
        """Return the score that a cut by share lets through, in the space of this key or that of the branch of this
        name.
        """
        return self.checkpoint(name) / "thresholds" / f"{key}.json"

    def freeze(self, name: str) -> Path:
        """Return what phase 1 recorded and phase 2 must equal."""
        return self.checkpoint(name) / "freeze.json"

    def embeddings(self, name: str, image_set: str, member: str) -> Path:
        """Return the folder of the embedding shards of one member for one image set."""
        return self.root / "cache" / _named(name) / image_set / member

    def views(self, name: str, image_set: str) -> Path:
        """Return folder of the shards of what was found in each image of a set: proposals, overlays, sizes, faces."""
        return self.root / "cache" / _named(name) / image_set / "views"

    def neighbours(self, name: str, member: str) -> Path:
        """Return folder of the look-alikes of the train images by a member: its embeddings of them, and their lists."""
        return self.root / "cache" / _named(name) / "neighbours" / member

    def pair_scores(self, name: str, image_set: str, branch: str) -> Path:
        """Return the folder of what a branch's pair networks make of the candidates of an image set of queries."""
        return self.root / "cache" / _named(name) / image_set / f"{branch}-scores"

    def keypoints(self, name: str, image_set: str, kind: str) -> Path:
        """Return folder of the keypoints of an image set, in shards; `kind` tells settings and what was looked at."""
        return self.root / "cache" / _named(name) / image_set / f"keypoints-{kind}"

    def index(self, name: str, image_set: str, branch: str) -> Path:
        """Return folder of the inverted file of an image set of references by a branch of local features."""
        return self.root / "cache" / _named(name) / image_set / f"{branch}.index"

    def quantiser(self, name: str, branch: str) -> Path:
        """Return the cells of the index of a branch of local features, fitted on train."""
        return self.checkpoint(name) / f"{branch}.quantiser.npz"

    def images(self, name: str, image_set: str) -> Path:
        """Return the folder of the digests of an image set, in shards: a pass over the images goes on from them."""
        return self.root / "cache" / _named(name) / "images" / image_set

    def codebook(self, name: str, branch: str) -> Path:
        """Return the visual words of an ASMK branch, fitted on train."""
        return self.checkpoint(name) / f"{branch}.codebook.npz"

    def code_bank(self, name: str, branch: str) -> Path:
        """Return the folder of the binary codes of train, the background of an ASMK branch's normalisation."""
        return self.checkpoint(name) / f"{branch}.bank"

    def codes(self, name: str, image_set: str, branch: str) -> Path:
        """Return the folder of the binary codes of an image set for an ASMK branch, in shards."""
        return self.root / "cache" / _named(name) / image_set / f"{branch}.codes"

    def faces(self, name: str) -> Path:
        """Return which train images show a face."""
        return self.root / "cache" / _named(name) / "train" / "faces.npz"

    def feature_sample(self, name: str, image_set: str, branch: str) -> Path:
        """Return the local features that the codebook of an ASMK branch is fitted on."""
        return self.root / "cache" / _named(name) / image_set / f"{branch}.sample.npz"

    def submission(self, phase: int, name: str) -> Path:
        """Return the folder of one submission: matching.csv, descriptors.h5, score.json, rules.json, manifest.json."""
        query_set(phase)
        return self.root / "submissions" / f"phase{phase}" / _named(name)

    def image_digests(self, phase: int, name: str, image_set: str) -> Path:
        """Digests of all images of a set, so that an audit can name the one that changed."""
        return self.submission(phase, name) / "images" / f"{image_set}.npz"

    def descriptors(self, phase: int, name: str) -> Path:
        """Return the descriptor track file."""
        return self.submission(phase, name) / DESCRIPTORS

    def matches(self, phase: int, name: str) -> Path:
        """Return the matching track file."""
        return self.submission(phase, name) / MATCHES

    @property
    def ledger(self) -> Path:
        """Return the file of what was handed in, a line each time."""
        return self.root / "submissions" / "ledger.jsonl"


DESCRIPTORS = "descriptors.h5"
MATCHES = "matching.csv"
SUFFIXES = (".csv", ".h5", ".hdf5")
"""Of the files of both tracks."""
SCORE = "score.json"
RULES = "rules.json"
MANIFEST = "manifest.json"
