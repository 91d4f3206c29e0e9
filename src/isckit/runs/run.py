"""One run = one name, one recipe, one set of weights and of what was fitted on train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isckit import config
from isckit.config.differences import recipe_differences
from isckit.runs.artifacts import RECEIPT, file_digest, read_receipt, receipt_path, write_text
from isckit.runs.records import read_json
from isckit.runs.workspace import Workspace
from isckit.types import MissingInput, StaleArtifact


@dataclass(frozen=True)
class Run:
    """A named run in a workspace; `cache` is where its embeddings lie, if not there."""

    workspace: Workspace
    name: str
    recipe: config.Recipe
    cache: Workspace | None = None

    @property
    def weights(self) -> Path:
        """Weights of all members."""
        return self.workspace.weights(self.name)

    @property
    def described(self) -> Workspace:
        """Where what is described of images lies."""
        return self.cache or self.workspace

    def folder(self, image_set: str, member: str) -> Path:
        """Return the folder of the embedding shards of one member for one image set."""
        return self.described.embeddings(self.name, image_set, member)

    def finished(self, folder: Path) -> dict[str, Any]:
        """Return the receipt of what was described of an image set, below the cache.

        Raises:
            MissingInput: it is not there, or not to its end.
        """
        if receipt_path(folder).is_file():
            receipt = read_receipt(folder)
            if receipt["facts"].get("complete"):
                return receipt
        image_set, name = folder.relative_to(self.described.root).parts[-2:]
        kind = name.rpartition(".")[2].partition("-")[0]
        what = kind if kind in ("keypoints", "codes", "views") else f"embeddings by {name}"
        raise MissingInput(
            seen=f"no complete {what} of {image_set} in run {self.name!r}",
            allowed="a finished extraction",
            remedy=f"run: isckit extract --name {self.name} --sets {image_set} --data DIR",
        )

    def extracting(self, **settings: Any) -> Run:
        """Return the run with other settings of extraction, such as on_broken: they change no descriptor."""
        extract = config.replace(self.recipe.extract, **settings)
        return config.replace(self, recipe=config.replace(self.recipe, extract=extract))

    def fitted(self, path: Path) -> Path:
        """Return a file or folder that `isckit fit` makes.

        Raises:
            MissingInput: it is not there.
        """
        if not path.exists():
            raise MissingInput(seen=f"no {path}", allowed="a fitted run", remedy=f"run: isckit fit --name {self.name}")
        return path

    def intact(self) -> Run:
        """Return the run, whose files are those that were trained and fitted, by the digests in their receipts.

        Raises:
            StaleArtifact: one was changed since.
        """
        for receipt in sorted(self.workspace.checkpoint(self.name).rglob(f"*{RECEIPT}")):
            path = receipt.with_name(receipt.name.removesuffix(RECEIPT))
            made = read_receipt(path)["facts"].get("sha256") if path.is_file() else None
            if made and made != file_digest(path):
                raise StaleArtifact(
                    seen=f"{path} is not the file that was made (sha256 {made[:12]}...)",
                    allowed="the files of a run as they were trained and fitted",
                    remedy=f"restore it, or remove it with {receipt.name} and make it again",
                )
        return self


def begin(workspace: Workspace, name: str, recipe: config.Recipe) -> Run:
    """Start a run, or go on with it: its recipe is written once and never changes.

    Raises:
        BadInput: no name of a run.
        StaleArtifact: the run was begun with another recipe.
    """
    run = planned(workspace, name, recipe)
    if not workspace.recipe(name).is_file():
        write_text(workspace.recipe(name), config.to_json(recipe))
    return run


def planned(workspace: Workspace, name: str, recipe: config.Recipe) -> Run:
    """Return a run as it would begin, or go on; nothing is written. Raises as `begin`."""
    path = workspace.recipe(name)
    if path.is_file():
        stands = config.from_dict(read_json(path))
        if stands != recipe:
            differing = recipe_differences(config.to_dict(stands), config.to_dict(recipe))
            raise StaleArtifact(
                seen=f"run {name!r} was begun with another recipe: {'; '.join(differing[:4])}",
                allowed="one recipe a run",
                remedy=f"choose another --name, or remove {path.parent}",
            )
    return Run(workspace, name, recipe)


def resume(workspace: Workspace, name: str) -> Run:
    """Go on with a run that was begun.

    Raises:
        MissingInput: there is no such run.
    """
    path = workspace.recipe(name)
    if not path.is_file():
        there = sorted(p.parent.name for p in path.parent.parent.glob("*/recipe.json"))
        raise MissingInput(
            seen=f"no run {name!r} in {path.parent.parent}",
            allowed=f"a run that was begun: {', '.join(there) or 'none yet'}",
            remedy=f"begin it with: isckit train --name {name}",
        )
    return Run(workspace, name, config.from_dict(read_json(path)))
