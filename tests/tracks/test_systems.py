"""Every matching system end to end, from images to a list, and again on other images: no score hangs on them."""

import numpy as np
import pytest
import torch

from isckit import config
from isckit.config import Ensemble, Extract, Network, NtXent, Optim, Stage, replace
from isckit.data.layouts import open_folder, require
from isckit.engine.distributed import Process
from isckit.recipes import d2lv, how, imgfp, ours_matching, separate
from isckit.runs.run import begin
from isckit.runs.workspace import Workspace
from isckit.studies.baselines import complete
from isckit.submission import read_matches
from isckit.tracks.find import infer

PLACE = Process(torch.device("cpu"))
STAGE = Stage(epochs=1, images_per_epoch=32, batch_images=16, loss=NtXent(koleo=0.1), optim=Optim(warmup_epochs=0.5))


def small(network):
    """The network at a size for tests; what makes it the system's own stays."""
    return replace(
        network, dim=24, image_size=32, canvas=64, stages=(STAGE,) if network.stages else (),
        head=replace(network.head, widths=(32, 24)),
    )  # fmt: skip


def shrunk(recipe):
    """A recipe at a size for tests: same members, branches and fusion."""
    members = tuple(small(m) if isinstance(m, Network) else m for m in recipe.members)
    branches = tuple(_branch(branch) for branch in recipe.matching.branches)
    detector = recipe.detector and replace(
        recipe.detector, epochs=1, images_per_epoch=16, batch_images=8, image_size=64
    )
    return replace(
        recipe, members=members, detector=detector, extract=Extract(shard_images=16),
        ensemble=Ensemble(dim=16), matching=replace(recipe.matching, branches=branches),
    )  # fmt: skip


def _branch(branch):
    if isinstance(branch, config.Views | config.Agreement):
        cut = replace(branch.cut, amount=0.2) if branch.cut.by == "share" else branch.cut
        space = branch.space and replace(branch.space, dim=branch.space.dim and 16)
        return replace(branch, cut=cut, space=space)
    if isinstance(branch, config.Local):
        vote = branch.vote and replace(branch.vote, lists=4, probes=2, least_votes=2)
        return replace(branch, vote=vote)
    if isinstance(branch, config.Asmk):
        return replace(branch, words=16, fit_images=40, features=40, longest=64)
    networks = tuple(
        replace(
            network, image_size=32, canvas=64, tokens=8,
            stages=tuple(replace(stage, groups=4, log_groups=2, group=4) for stage in network.stages),
        )
        for network in branch.networks
    )  # fmt: skip
    return replace(branch, networks=networks)


SYSTEMS = {
    "d2lv": d2lv.mini,
    "separate": separate.mini,
    "imgfp": imgfp.mini,
    "how": how.mini,
    "ours": ours_matching.tiny,
}


@pytest.fixture(scope="module", params=SYSTEMS)
def finished(request, mini, tmp_path_factory):
    """A run of a system through phase 1."""
    run = begin(Workspace(tmp_path_factory.mktemp(request.param)), "run", shrunk(SYSTEMS[request.param]()))
    complete(run, mini, phase=1, workers=0)
    return run


def listed(path):
    matches = read_matches(path)
    names = zip(matches.query_ids.tolist(), matches.reference_ids.tolist(), strict=True)
    return dict(zip(names, matches.scores.tolist(), strict=True))


def with_broken(images, folder):
    """A folder of the same images and two that do not decode."""
    folder.mkdir()
    for row, name in enumerate(images.ids.tolist()):
        (folder / f"{name}.jpg").write_bytes(images.read(row))
    (folder / "bad.jpg").write_bytes(b"no picture")
    (folder / "worse.png").write_bytes(b"")
    return open_folder(folder, images.role)


def test_scores_are_the_same_among_other_images_and_no_pair_is_left_out_for_them(finished, disc, tmp_path):
    queries, references = require(disc, "queries"), require(disc, "references")
    some = queries.subset(np.arange(1, len(queries), 3)), references.subset(np.arange(0, len(references), 2))
    beside = [with_broken(images, tmp_path / images.name) for images in some]
    found = infer(finished, *beside, tmp_path / "out", batch=3, process=PLACE, workers=0)
    assert [set(broken) for broken in found.broken.values()] == [{"bad", "worse"}] * 2
    alone, submitted = listed(tmp_path / "out/matching.csv"), listed(finished.workspace.matches(1, "run"))
    assert not {"bad", "worse"} & {name for pair in alone for name in pair}  # grey would match grey
    shared = {pair: score for pair, score in submitted.items() if pair[0] in some[0].ids and pair[1] in some[1].ids}
    assert shared and np.isfinite(list(submitted.values())).all()
    spread = np.std(list(submitted.values())) or 1.0
    for pair, score in shared.items():
        assert abs(alone[pair] - score) < 1e-3 * max(abs(score), spread), pair
    lowest = min(submitted.values())
    left_out = [pair for pair, score in alone.items() if pair not in submitted and score > lowest + 1e-3 * spread]
    assert not left_out
