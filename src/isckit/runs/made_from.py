"""The values that decide whether an artifact is the same as before: the one place that spells the keys of receipts.

Steps call these functions with what they read, an audit with what a manifest records; None stands for what it does not
know. Settings are plain values (`config.to_dict`), inputs are digests or the receipts of the steps before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

MadeFrom = dict[str, Any]


def words(settings: object) -> str:
    """Return settings as canonical JSON, or "" for None."""
    return "" if settings is None else json.dumps(settings, sort_keys=True)


def digest(value: object) -> str:
    """Return the sha256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def weights(*, images: str | None = None, checkpoint: str | None = None) -> MadeFrom:
    """Return the `made_from` of a run's weights: trained on these images, or installed from a file."""
    return {"images": images or ""} if checkpoint is None else {"checkpoint": checkpoint}


def training(*, settings: object, seed: int, images: str) -> MadeFrom:
    """Return the `made_from` of the state of a training that goes on."""
    return {"settings": words(settings), "seed": seed, "images": images}


def substituted(*, boxes: str, confidence: float) -> MadeFrom:
    """Return the `made_from` of the pictures that take the place of queries, a part of what is made from them."""
    return {"boxes": boxes, "confidence": str(confidence)}


def embeddings(
    *, member: object, weights: str | None, images: str | None, extract: object, views: Sequence[str] | None = None
) -> MadeFrom:
    """Return the `made_from` of the embeddings of an image set by a member."""
    found = {"member": words(member), "weights": weights, "images": images, "extract": words(extract)}
    return found if views is None else found | {"views": " ".join(views)}


def table(*, images: str, proposals: object, faces: bool, extract: object) -> MadeFrom:
    """Return the `made_from` of what was found in each image of a set."""
    return {"images": images, "proposals": words(proposals), "faces": str(faces), "extract": words(extract)}


def detected(*, detector: object, weights: str) -> MadeFrom:
    """Return the `made_from` of detected overlays, a part of a table's."""
    return {"detector": words(detector), "weights": weights}


def described(receipts: Sequence[object]) -> str:
    """Return the digest of what the embeddings of an image set by some members were made from, in their order."""
    return digest(receipts)


def ensemble(*, settings: object, train: str | None) -> MadeFrom:
    """Return the `made_from` of the ensemble's projection, and of the bank of train vectors."""
    return {"recipe": digest(settings), "train": train}


def space(*, settings: object, train: str | None) -> MadeFrom:
    """Return the `made_from` of a branch's own space."""
    return {"space": words(settings), "train": train}


def threshold(*, settings: object, bank: str) -> MadeFrom:
    """Return the `made_from` of the score that a cut by share lets through."""
    return {"settings": words(settings), "bank": bank}


def keypoints(*, settings: object, images: str, extract: object, weights: str) -> MadeFrom:
    """Return the `made_from` of the keypoints of an image set; `weights`: digest of those of a learned feature, "" of
    others.
    """
    found = {"keypoints": words(settings), "images": images, "extract": words(extract)}
    return found | ({"weights": weights} if weights else {})


def quantiser(*, vote: object, train: object, references: int) -> MadeFrom:
    """Return the `made_from` of the cells of an index of local features, fitted for so many references (0: for any)."""
    return {"vote": words(vote), "train": words(train)} | ({"references": references} if references else {})


def index(words_digest: str, receipt: object) -> MadeFrom:
    """Return the `made_from` of an inverted file of references; `receipt`: of their keypoints."""
    return {"words": words_digest, "keypoints": words(receipt)}


def local_features(
    *, member: object, weights: str, images: str, longest: int, features: int, on_broken: str
) -> MadeFrom:
    """Return the `made_from` of a network's local features, a part of codes and of the codebook's sample."""
    return {
        "member": words(member),
        "weights": weights,
        "images": images,
        "longest": longest,
        "features": features,
        "on_broken": on_broken,
    }


def codebook(*, sample: str, words: int) -> MadeFrom:
    """Return the `made_from` of the visual words of an ASMK branch."""
    return {"sample": sample, "words": words}


def code_bank(*, codes: object) -> MadeFrom:
    """Return the `made_from` of the codes of train that scores are normalised against."""
    return {"codes": codes}


def pair_scores(
    *, weights: str, pairs: str, images: Sequence[str], ids: Sequence[str], views: Sequence[str]
) -> MadeFrom:
    """Return the `made_from` of what pair networks make of candidates."""
    return {"weights": weights, "pairs": pairs, "images": list(images), "ids": list(ids), "views": list(views)}


def submission(*, recipe: str | None, parts: Mapping[str, str | None], sets: Mapping[str, str | None]) -> MadeFrom:
    """Return the `made_from` of a submission's file: the recipe's digest, those of fitted parts, and of how the image
    sets were described.
    """
    return {"recipe": recipe, **parts, **sets}


def found(*, recipe: str, weights: str, bank: str, images: Sequence[str]) -> MadeFrom:
    """Return the `made_from` of what is found in two folders: digests of queries and references."""
    return {"recipe": recipe, "weights": weights, "bank": bank, "images": list(images)}


def vectors(*, recipe: str, parts: Mapping[str, str], images: str, role: str) -> MadeFrom:
    """Return the `made_from` of a file of vectors of any folder."""
    return {"recipe": recipe, **parts, "images": images, "role": role}
