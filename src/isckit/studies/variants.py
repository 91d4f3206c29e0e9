"""A row of an ablation as a run of its own: whatever embeddings it shares with the trained run, or with another row,
are there once."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.matching.inputs import view_sets_of
from isckit.runs.artifacts import file_digest, is_fresh, read_receipt, receipt_path, write_receipt
from isckit.runs.embeddings import read_shards, write_embeddings
from isckit.runs.run import Run
from isckit.studies.ablations import AblationRow
from isckit.types import WHOLE, BadInput, MissingInput, Role
from isckit.vectors.described import set_made_from

if TYPE_CHECKING:
    import torch

    from isckit.engine.distributed import Process

AT_TEST = frozenset({"image_size", "canvas", "gem_p_at_test", "scales", "flip", "weight"})
"""The settings that may differ of a member whose weights are trained already."""


@dataclass(frozen=True)
class Variant(Run):
    """A run whose members' embeddings lie where `homes` says, by image set and member."""

    homes: Mapping[tuple[str, str], Path] | None = None

    def folder(self, image_set: str, member: str) -> Path:
        """Return the embedding shards of one member for one image set."""
        assert self.homes is not None
        return self.homes[image_set, member]


def row_recipe(run: Run, row: AblationRow) -> config.Recipe:
    """Return the run's recipe with the settings of a row.

    Raises:
        BadInput: unknown settings, or settings that other weights would belong to.
    """
    recipe = config.override(run.recipe, row.settings)
    trained = _trained(run.recipe)
    touched = [key for key, value in _trained(recipe).items() if trained.get(key) != value]
    if touched:
        raise BadInput(
            seen=f"row {row.label!r} changes {', '.join(touched[:4])}, which the weights of {run.name!r} depend on",
            allowed=f"what comes after training; of a member: {', '.join(sorted(AT_TEST))}",
            remedy=f"train it as a run of its own: isckit train --name NAME --set {' --set '.join(row.settings)}",
        )
    return recipe


def _trained(recipe: config.Recipe) -> dict[str, Any]:
    values: dict[str, Any] = {"seed": recipe.seed}
    for member in recipe.members:
        parts = config.to_dict(member).items()
        values |= {f"members.{member.name}.{key}": value for key, value in parts if key not in AT_TEST}
    return values


class Variants:
    """Makes the rows of one run: each member's embeddings are extracted once for all rows that share them.

    What is made lies in runs named RUN.ablate.KEY of the same workspace, by content. `views`: whether the views of the
    Matching track are needed, or whole images only.
    """

    def __init__(self, run: Run, sets: Sequence[ImageSet], *, views: bool, process: Process, workers: int) -> None:
        self.run, self.sets, self.views, self.process, self.workers = run, sets, views, process, workers
        self._digest = functools.cache(file_digest)
        self._homes: dict[tuple[str, str, str], Path] = {}

    def of(self, row: AblationRow) -> Variant:
        """Return the row, extracted and ready to be fitted.

        Raises:
            BadInput: its settings touch training.
            MissingInput: the weights that a stage left are not there.
        """
        recipe = row_recipe(self.run, row)
        if not self.views:
            recipe = recipe.whole_only
        homes = {}
        for member in recipe.members:
            source = weights_after(self.run, member.name, row.stages)
            for images in self.sets:
                homes[images.name, member.name] = self._home(recipe, member, images, source)
        weights = [member.weight for member in recipe.members]
        places = [str(home.relative_to(self.run.workspace.root)) for home in homes.values()]
        key = _key([config.to_dict(recipe.ensemble), weights, places])
        return Variant(self.run.workspace, self._name(key), recipe, homes=homes)

    def _name(self, key: str) -> str:
        return f"{self.run.name}.ablate.{key}"

    def _home(self, recipe: config.Recipe, member: config.Member, images: ImageSet, source: Path | None) -> Path:
        """Return the folder of a member's finished embeddings of an image set."""
        single = self._single(recipe, member, source, images.role)
        known = (single.name, images.name, member.name)
        if known not in self._homes:
            self._homes[known] = self._taken_over(single, images, source) or self._extracted(single, images, source)
        return self._homes[known]

    def _single(self, recipe: config.Recipe, member: config.Member, source: Path | None, role: Role) -> Run:
        """Return a run of this member alone; its name is the digest of all that decides its embeddings of such
        images.
        """
        plain = _plain(member)
        recipe = _for_role(recipe, role, member.name)
        recipe = replace(recipe, members=(plain,), ensemble=config.Ensemble(), normalise=())
        decisive = (plain, recipe.extract, recipe.substitution, recipe.detector, recipe.proposals, recipe.overlays)
        parts = [config.to_dict(part) if part else None for part in decisive]
        views = [config.to_dict(branch) for branch in recipe.matching.branches]
        weights = self._digest(source) if source else f"untrained, seed {recipe.seed}"
        return Run(self.run.workspace, self._name(_key([*parts, views, weights])), recipe)

    def _taken_over(self, single: Run, images: ImageSet, source: Path | None) -> Path | None:
        """Return trained run's own embeddings where they are the same: as they are, or their whole images copied."""
        from isckit.tracks.extraction import views_of

        (member,), run = single.recipe.members, self.run
        own = next(other for other in run.recipe.members if other.name == member.name)
        as_own = _for_role(run.recipe, images.role, own.name)
        same = (_plain(own), as_own.extract, as_own.substitution) == (
            member, single.recipe.extract, single.recipe.substitution
        )  # fmt: skip
        if source != run.weights or not same or not _current(run, images, own):
            return None
        there, wanted = views_of(run.recipe, images.role, own.name), views_of(single.recipe, images.role)
        if there == wanted:
            return run.folder(images.name, own.name)
        if wanted.names != (WHOLE,):
            return None
        home = run.workspace.embeddings(self._name("whole"), images.name, own.name)
        if self.process.first:
            _copy_whole(run.folder(images.name, own.name), home)
        self.process.barrier()
        return home

    def _extracted(self, single: Run, images: ImageSet, source: Path | None) -> Path:
        from isckit.runs.checkpoints import write_weights
        from isckit.tracks.extraction import extract_set

        (member,) = single.recipe.members
        if self.process.first and not single.weights.is_file():
            recipe = config.to_json(single.recipe)
            write_weights(single.weights, _tensors(self.run, member, source), recipe=recipe)
        self.process.barrier()
        extract_set(single, images, process=self.process, workers=self.workers)
        return single.folder(images.name, member.name)


def weights_after(run: Run, member: str, stages: int | None) -> Path | None:
    """Return the file with a member's weights after so many stages of its training (None: all); None before training.

    Raises:
        MissingInput: the stage left no file.
    """
    settings = next(other for other in run.recipe.members if other.name == member)
    trained = settings.stages if isinstance(settings, config.Network) else ()
    if stages is None or stages >= len(trained):
        return run.weights
    if stages == 0:
        return None
    path = run.workspace.stage(run.name, member, trained[stages - 1].name)
    if not path.is_file():
        raise MissingInput(
            seen=f"no {path}, the weights of member {member} after stage {trained[stages - 1].name!r}",
            allowed="a run that was trained here, with the files that its stages left",
            remedy="put the file back, or train the run again under another --name",
        )
    return path


def _tensors(run: Run, member: config.Member, source: Path | None) -> dict[str, torch.Tensor]:
    """Return a member's weights under its name: from the run's file or a stage's, or as training begins with them.

    The detector's, where there is one, beside them.
    """
    from isckit.engine.distributed import deterministic
    from isckit.models.members import build, prefixed
    from isckit.runs.checkpoints import read_weights

    beside = _of(read_weights(run.weights), run.recipe.detector.name) if run.recipe.detector else {}
    origin = (isinstance(member, config.Network) and member.weights_of) or member.name
    if source is None:
        deterministic(run.recipe.seed)
        tensors = build(member).state_dict()
    else:
        tensors = read_weights(source)
        if source == run.weights:
            tensors = {key.removeprefix(f"{origin}."): value for key, value in _of(tensors, origin).items()}
    return prefixed(member.name, tensors) | beside


def _of(tensors: Mapping[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key: value for key, value in tensors.items() if key.startswith(f"{name}.")}


def _for_role(recipe: config.Recipe, role: Role, member: str) -> config.Recipe:
    """Return a recipe without what a member's embeddings of images of this role know nothing of."""
    names = tuple(dict.fromkeys(view_sets_of(recipe, role, member)))
    query = role is Role.QUERY
    views = config.Views(query_views=names if query else (), reference_views=() if query else names)
    substitution = recipe.substitution if role is Role.QUERY else None
    return replace(recipe, matching=config.Matching(branches=(views,)), substitution=substitution)


def _plain(member: config.Member) -> config.Member:
    """Return a member without what its embeddings do not depend on."""
    if isinstance(member, config.Network):
        return replace(member, weight=1.0, stages=(), weights_of="")
    return replace(member, weight=1.0)


def _current(run: Run, images: ImageSet, member: config.Member) -> bool:
    """Return True if the run's own embeddings of these images are whole, and made from what is at hand."""
    folder = run.folder(images.name, member.name)
    if not receipt_path(folder).is_file():
        return False
    receipt = read_receipt(folder)
    recorded = receipt["made_from"]
    wanted = set_made_from(run, images, member, ()) | {"views": recorded["views"]}
    return receipt["facts"]["complete"] and recorded == wanted


def _copy_whole(source: Path, target: Path) -> None:
    """Copy the embeddings of whole images, shard by shard."""
    receipt = read_receipt(source)
    made_from = receipt["made_from"] | {"views": WHOLE}
    if is_fresh(target, made_from):
        return
    for number, part in enumerate(read_shards(source)):
        whole = part.only(WHOLE)
        write_embeddings(target / f"shard-{number:05d}.h5", replace(whole, view_names=(WHOLE,)))
    write_receipt(target, made_from=made_from, facts=receipt["facts"])


def _key(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
