"""Branches of local features: keypoints of every image, an index fitted on train, votes, and verified pairs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.data.images import placeholder
from isckit.features.kinds import feature_of
from isckit.features.points import LocalFeature, none, vectors
from isckit.features.store import Store
from isckit.matching.inputs import (
    MatchingInputs,
    open_table,
    references_of,
    substitute_made_from,
    substitute_of,
    table_receipt,
)
from isckit.matching.local import index, inverted, words
from isckit.matching.local.verify import verified
from isckit.matching.local.vote import Votes, by_codes, candidates, votes_needed
from isckit.runs import made_from
from isckit.runs.artifacts import file_digest
from isckit.runs.run import Run
from isckit.runs.steps import Advance, Output, Writer, make, make_shards, shards
from isckit.types import Matches, Role
from isckit.views.overlays import Box, pasted, substituted

if TYPE_CHECKING:
    from isckit.data.datasets import Substitute
    from isckit.engine.distributed import Process

log = logging.getLogger(__name__)

OVERLAY, SUBSTITUTED = "-overlay", "-substituted"
"""Ends of the names of keypoints of queries that were not looked at as they are."""
_QUERIES = 256
"""Query images whose pairs are verified at once."""
_POINTS_AN_IMAGE = 100
"""Fewer than train images have: so many are described that there are points enough for fitting."""


def describe(run: Run, images: ImageSet, branch: config.Local, *, process: Process, workers: int) -> None:
    """Extract the keypoints that a branch needs of an image set; of train as many images as its index is fitted on.

    Raises:
        BadInput: broken images under the policy "stop", all of them listed.
        MissingInput: overlays are looked at, and nobody detected any.
    """
    from isckit.engine.keypoints import extract_keypoints  # imports torch

    if images.role.may_be_fitted_on:
        if not _fitted(branch):
            return
        wanted = -(-_sample_size(run, branch.vote) // _POINTS_AN_IMAGE) if branch.vote else 0
        images = images.subset(np.unique(np.linspace(0, len(images) - 1, min(wanted, len(images))).astype(np.int64)))
    for flipped in _extractions(branch, images.role):
        extract_keypoints(
            images,
            _folder(run, images.name, branch, images.role, flipped=flipped),
            keypoints=branch.keypoints,
            flipped=flipped,
            made_from=_described_from(run, images, branch),
            settings=run.recipe.extract,
            take=_taken(run, images, branch),
            process=process,
            workers=workers,
        )


def fit(run: Run, branch: config.Local) -> None:
    """Fit the cells of the branch's index on points of train images.

    Raises:
        MissingInput: train was not extracted.
    """
    if not _fitted(branch):
        return
    assert branch.vote is not None
    path, folder = run.workspace.quantiser(run.name, branch.name), _folder(run, "train", branch, Role.TRAIN)
    vote, seed, feature = branch.vote, run.recipe.seed, feature_of(branch.keypoints)
    lists, references = _lists(run, vote), references_of(run) if vote.index == "codes" else 0
    settings = config.to_dict(config.replace(vote, lists=lists))
    inputs = made_from.quantiser(vote=settings, train=run.finished(folder)["made_from"], references=references)

    def work() -> dict[str, Any]:
        train = Store(folder)
        descriptors = np.concatenate([train.block(number).descriptors for number in range(len(train.paths))])
        drawn = np.random.default_rng(seed).permutation(len(descriptors))[: _sample_size(run, vote)]
        points = vectors(descriptors[drawn], bits=feature.bits)
        if vote.index == "codes":
            vocabulary = words.fit(points, lists, seed=seed, bits=feature.bits)
            least = votes_needed(train, vocabulary, vote, references=references)
            words.save(path, config.replace(vocabulary, least=least))
        else:
            index.save(path, index.fit(points, vote, seed=seed, bits=feature.bits))
        return {"fitted_on": Role.TRAIN.value, "images": len(train.ids), "points": len(drawn)}

    make(Output(path, inputs), work)


def matches(scene: MatchingInputs, branch: config.Local, found: Mapping[str, Matches]) -> Matches:
    """Return the verified pairs: those that the branch's own points vote for, and those of its candidate branches.

    Raises:
        MissingInput: keypoints of one of the sets, or the index, are not there.
    """
    run = scene.run
    sides = [_store(run, scene.queries, branch, Role.QUERY)]
    if branch.verify.mirrored or (branch.vote and branch.vote.mirrored):
        sides.append(_store(run, scene.queries, branch, Role.QUERY, flipped=True))
    references = _store(run, scene.references, branch, Role.REFERENCE)
    pairs = [_voted(scene, branch, sides, references)] if branch.vote else []
    pairs += [_pairs(found[name], sides[0].ids, references.ids) for name in branch.candidates]
    chosen = np.unique(np.concatenate([np.zeros(0, np.int64), *pairs]))
    query, reference = np.divmod(chosen, len(references.ids))
    seen = sides if branch.verify.mirrored else sides[:1]

    def part(rows: range, advance: Advance) -> dict[str, np.ndarray]:
        own = slice(*np.searchsorted(query, [rows.start, rows.stop]))
        pairs = query[own], reference[own]
        scores = verified(seen, references, *pairs, branch.verify, workers=scene.workers, advance=advance)
        return {"scores": scores}

    name = f"{branch.name}-verified"
    parts = shards(len(sides[0].ids), _QUERIES)
    made = scene.kept.arrays(name, parts, part, {"scores": "f1"}, title=f"verify {branch.name}", unit="query")
    kept = (made["scores"] > 0) | (branch.verify.least == 0)
    return Matches(sides[0].ids[query[kept]], references.ids[reference[kept]], made["scores"][kept])


def _voted(scene: MatchingInputs, branch: config.Local, sides: list[Store], references: Store) -> np.ndarray:
    """Return pairs that vote, as numbers: query row times references plus reference row."""
    run, settings = scene.run, branch.vote
    assert settings is not None
    path = run.workspace.quantiser(run.name, branch.name)
    cells = file_digest(run.fitted(path)) if _fitted(branch) else None
    options: dict[str, Any] = {"settings": settings, "workers": scene.workers, "kept": scene.kept}
    if settings.index == "codes":
        assert cells is not None
        vocabulary, described = words.load(path), _folder(run, scene.references, branch, Role.REFERENCE)
        inputs = made_from.index(cells, run.finished(described)["made_from"])
        lists = _index(scene, branch, references, vocabulary, inputs)
        look: Callable[..., Votes] = partial(by_codes, index=lists, vocabulary=vocabulary, **options)
    else:
        quantiser = index.load(path) if cells else index.EVERYTHING
        look = partial(candidates, references=references, quantiser=quantiser, **options)
    pairs = []
    for side in sides if settings.mirrored else sides[:1]:
        name = f"{branch.name}-{'mirrored' if side is not sides[0] else 'plain'}"
        votes = look(side, name=name)
        pairs.append(votes.query * len(references.ids) + votes.reference)
        log.info("%s: %d pairs voted", name, len(votes.query))
    return np.concatenate(pairs)


def _index(
    scene: MatchingInputs,
    branch: config.Local,
    references: Store,
    vocabulary: words.Vocabulary,
    inputs: made_from.MadeFrom,
) -> list[inverted.Part]:
    """Return the parts of the inverted file of the references, made where they are not there yet."""
    folder = scene.run.described.index(scene.run.name, scene.references, branch.name)
    own_shards = inverted.parts_of(references)
    output = Output(folder, inputs, ".h5")

    def work(rows: range, advance: Advance) -> tuple[list[Writer], dict[str, int]]:
        own = next(part for part in own_shards if references.start(part[0]) == rows.start)
        lists = inverted.lists_of(references, own, vocabulary, advance)
        return [lambda path: inverted.save_part(path, lists)], {"images": len(rows), "points": len(lists.codes)}

    def facts(reports: list[dict[str, int]]) -> dict[str, Any]:
        return {key: sum(report[key] for report in reports) for key in ("images", "points")}

    parts = [range(references.start(first), references.start(last)) for first, last in own_shards]
    make_shards([output], parts, work, title=f"index {scene.references}", facts=facts, executor=scene.kept.executor)
    return [inverted.read_part(output.shard(number)) for number in range(len(parts))]


def _lists(run: Run, vote: config.Vote) -> int:
    """Return the number of lists: as set, or for the points of the references that were described, then fixed."""
    return vote.lists or words.words_for(references_of(run) * words.POINTS)


def _sample_size(run: Run, vote: config.Vote) -> int:
    """Return the points of train that are enough for fitting."""
    return words.PER_WORD * _lists(run, vote) if vote.index == "codes" else index.sample_size(vote)


def _pairs(rows: Matches, query_ids: np.ndarray, reference_ids: np.ndarray) -> np.ndarray:
    """Return pairs of another branch as numbers."""
    return np.searchsorted(query_ids, rows.query_ids) * len(reference_ids) + np.searchsorted(
        reference_ids, rows.reference_ids
    )


def _store(run: Run, image_set: str, branch: config.Local, role: Role, *, flipped: bool = False) -> Store:
    """Return the keypoints of an image set, as they are or of the mirrored pictures."""
    feature = feature_of(branch.keypoints)
    anew = flipped and not _mirrors(feature)
    folder = _folder(run, image_set, branch, role, flipped=anew)
    run.finished(folder)
    return Store(folder, bits=feature.bits, mirror=feature.mirror if flipped and not anew else None)


def _extractions(branch: config.Local, role: Role) -> tuple[bool, ...]:
    """Return whether pictures are described as they are (False) and mirrored (True).

    Mirrored queries are described anew where the points of a picture do not say those of the mirrored one.
    """
    mirror = branch.verify.mirrored or (branch.vote is not None and branch.vote.mirrored)
    anew = role is Role.QUERY and mirror and not _mirrors(feature_of(branch.keypoints))
    return (False, True) if anew else (False,)


def _mirrors(feature: LocalFeature) -> bool:
    return feature.mirror(none(feature.width, 0, bits=feature.bits)) is not None


def _folder(run: Run, image_set: str, branch: config.Local, role: Role, *, flipped: bool = False) -> Path:
    """Return where the keypoints of a set lie; branches with the same settings share them."""
    kind = made_from.digest(config.to_dict(branch.keypoints))[:8]
    kind += _looks(run, branch, role) + ("-mirrored" if flipped else "")
    return run.described.keypoints(run.name, image_set, kind)


def _described_from(run: Run, images: ImageSet, branch: config.Local) -> dict[str, str]:
    found = made_from.keypoints(
        settings=config.to_dict(branch.keypoints),
        images=images.content_digest(),
        extract=config.to_dict(run.recipe.extract),
        weights=feature_of(branch.keypoints).weights,
    )
    looks = _looks(run, branch, images.role)
    if looks == OVERLAY:
        found["overlays"] = table_receipt(run, images.name)
    return found | (substitute_made_from(run, images) if looks == SUBSTITUTED else {})


def _looks(run: Run, branch: config.Local, role: Role) -> str:
    """Return what is looked at of images of a role: OVERLAY, SUBSTITUTED, or "" for the images as they are."""
    if role is not Role.QUERY or branch.of == "original":
        return ""
    if branch.of == "overlay":
        return OVERLAY
    return SUBSTITUTED if run.recipe.substitution is not None else ""


def _taken(run: Run, images: ImageSet, branch: config.Local) -> Substitute | None:
    """Return what is looked at in place of an image; None where it is the image itself."""
    looks = _looks(run, branch, images.role)
    if looks == OVERLAY:
        table = open_table(run, images.name)
        found = {str(table.ids[row]): pasted(table.boxes_of(row)) for row in table.box_counts.nonzero()[0].tolist()}
        return PastedPictures({name: box for name, box in found.items() if box is not None})
    return substitute_of(run, images) if looks == SUBSTITUTED else None


@dataclass(frozen=True)
class PastedPictures:
    """Image id and decoded image to its pasted picture; to a grey one, which has no points, where it has none."""

    boxes: Mapping[str, Box]

    def __call__(self, name: str, image: np.ndarray) -> np.ndarray:
        """Return the pixels of an (H, W, 3) image in its box."""
        return substituted(image, self.boxes[name]) if name in self.boxes else placeholder()


def _fitted(branch: config.Local) -> bool:
    """Return True if the branch has an index that is fitted."""
    return branch.vote is not None and branch.vote.index != "exact"
