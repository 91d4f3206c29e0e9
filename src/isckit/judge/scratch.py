"""A second root beside a run's own, in which steps are done again without touching anything of the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from isckit.judge.contestant import KIT, start
from isckit.storage.artifacts import receipt_path
from isckit.workspace import Workspace


def scratch(
    workspace: Workspace, name: str, root: Path, *, weights: bool = True, cache: bool = False, codebooks: bool = False
) -> Workspace:
    """A root that begins where the run stood after its training: recipe and weights are links to those of the run.

    Args:
        workspace, name: the run.
        root: new folder.
        weights: leave them away to have them trained again.
        cache: see the run's embeddings too.
        codebooks: see the run's visual words too, which are fitted while all of train is described.
    """
    there = Workspace(root)
    shared = [workspace.recipe(name)]
    if weights:
        shared += [workspace.weights(name), receipt_path(workspace.weights(name))]
    if codebooks:
        shared += sorted(workspace.checkpoint(name).glob("*.codebook.npz*"))
    there.checkpoint(name).mkdir(parents=True)
    for path in shared:
        if path.is_file():
            (there.checkpoint(name) / path.name).symlink_to(path.resolve())
    if cache:
        own = workspace.embeddings(name, "train", "member").parent.parent
        link = there.embeddings(name, "train", "member").parent.parent
        link.parent.mkdir(parents=True)
        link.symlink_to(own.resolve())
    return there


def again(
    verb: str,
    workspace: Workspace,
    name: str,
    *,
    options: str = "",
    values: Mapping[str, object] | None = None,
    threads: int | None = None,
    show: bool = False,
) -> None:
    """Do a verb of this kit in a fresh process; `options` has placeholders, the rest is as in `start`.

    Raises:
        BadInput: it failed; its last lines are in the message.
    """
    command = f"{KIT} {verb} --name {{name}} --root {{root}} {options}"
    start(command, {"name": name, "root": workspace.root} | dict(values or {}), threads=threads, show=show)
