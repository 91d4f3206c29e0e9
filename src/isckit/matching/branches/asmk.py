"""The ASMK branch: local features as binary codes of visual words, matched by the words that two images share.

Its codebook is fitted while train is extracted, as all codes are written in terms of it; `fit` makes it again, of the
same bytes, wherever it is not there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.matching import asmk
from isckit.matching.asmk import fit_codebook
from isckit.matching.codes import Codes, read_code_shards, write_codes
from isckit.matching.inputs import MatchingInputs
from isckit.runs import made_from
from isckit.runs.arrays import read_arrays, write_arrays
from isckit.runs.artifacts import file_digest, read_receipt
from isckit.runs.run import Run
from isckit.runs.steps import Output, make
from isckit.types import BadInput, Matches, Role

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    from isckit.engine.distributed import Process

log = logging.getLogger(__name__)

TRAIN = "train"


def describe(run: Run, images: ImageSet, branch: config.Asmk, *, process: Process, workers: int) -> None:
    """Write the binary codes of an image set, in shards; of train also, before, the features for the codebook.

    Args:
        images: train first of all sets, since the codes are written in terms of what is fitted on it.

    Raises:
        MissingInput: another set than train, and no codebook yet.
        BadInput: broken images under the policy "stop"; fewer features than words; a member that is no network.
        StaleArtifact: there are codes made from something else.
    """
    from isckit.matching.branches.codes import Coder  # imports torch, which fitting and matching do without

    coder = Coder(run, images, branch, process, workers)
    if images.name == TRAIN and images.role.may_be_fitted_on:
        path = run.workspace.codebook(run.name, branch.name)

        def words(_: int) -> None:
            if not path.is_file():
                coder.sample()
                fit_words(run, branch)

        process.executor.map(words, range(1), name=f"words {path}")
    coder.write(codebook(run, branch))


def codebook(run: Run, branch: config.Asmk) -> np.ndarray:
    """Return the visual words (words, d) float32.

    Raises:
        MissingInput: train was not extracted before.
    """
    remedy = f"extract train first: isckit extract --name {run.name} --sets train --data DIR"
    path = run.workspace.codebook(run.name, branch.name)
    with read_arrays(path, {"words": "f2"}, what="a codebook of visual words", remedy=remedy) as found:
        return found["words"]


def fit_words(run: Run, branch: config.Asmk) -> None:
    """Fit the codebook on the features of train images that were sampled in extraction.

    Raises:
        MissingInput: train was not extracted.
        BadInput: fewer features than words.
        StaleArtifact: it was fitted on others.
    """
    sample = run.described.feature_sample(run.name, TRAIN, branch.name)
    path = run.workspace.codebook(run.name, branch.name)
    if not sample.is_file():
        codebook(run, branch)  # raises where there is none
        return

    def work() -> dict[str, Any]:
        remedy = "run the extraction of train"
        with read_arrays(sample, {"features": "f2"}, what="a sample of local features", remedy=remedy) as found:
            features = found["features"]
        words = fit_codebook(features, words=branch.words, seed=run.recipe.seed)
        write_arrays(path, {"words": words})
        log.info("%s: %d visual words from %d features", branch.name, len(words), len(features))
        return {"fitted_on": Role.TRAIN.value, "images": read_receipt(sample)["facts"]["images"]}

    make(Output(path, made_from.codebook(sample=file_digest(sample), words=branch.words)), work)


def fit(run: Run, branch: config.Asmk) -> None:
    """Fit what the branch needs of train: its codebook, and the codes that scores are normalised against.

    Raises:
        MissingInput: train was not extracted.
        BadInput: fewer train images than the rank that scores are normalised by.
    """
    fit_words(run, branch)
    receipt = run.finished(_folder(run, TRAIN, branch))
    if receipt["facts"]["images"] < branch.norm_rank:
        raise BadInput(
            seen=f"{receipt['facts']['images']} train images, scores normalised by the one at rank {branch.norm_rank}",
            allowed="at least as many train images",
            remedy=f"extract more train images, or set matching.branches.{branch.name}.norm_rank",
        )
    bank = run.workspace.code_bank(run.name, branch.name)

    def work() -> dict[str, Any]:
        for number, part in enumerate(_shards(run, TRAIN, branch)):
            write_codes(bank / f"shard-{number:05d}.npz", part)
        return {"fitted_on": Role.TRAIN.value, "images": receipt["facts"]["images"]}

    make(Output(bank, made_from.code_bank(codes=receipt["made_from"])), work)


def matches(scene: MatchingInputs, branch: config.Asmk, found: object = None) -> Matches:
    """Score all pairs that share a visual word, and list the best by the branch's cut, no fewer than are handed in.

    A score is a function of query, reference, codebook and train. In memory are a shard of queries and one of others.

    Raises:
        MissingInput: an image set was not extracted, or the branch was not fitted.
    """
    run, cut = scene.run, branch.cut
    rows = max(scene.rows, round(cut.amount * len(scene.query_ids)))
    best = asmk.BestPairs(amount=int(cut.amount) if cut.by == "neighbours" else rows, per_query=cut.by == "neighbours")
    names: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    start = 0
    bar = tqdm(total=len(scene.query_ids), desc=f"match {branch.name}", unit="query")
    for queries in _shards(run, scene.queries, branch):
        names[0].append(queries.ids)
        usual = _usual(run, branch, queries)
        column = 0
        for references in _shards(run, scene.references, branch):
            if not start:
                names[1].append(references.ids)
            similar = asmk.similarities(queries, references, alpha=branch.alpha, threshold=branch.threshold)
            scores = similar - usual[:, None]
            query, reference = np.nonzero((similar > 0) & (scores >= best.floor))
            best.add(query + start, reference + column, scores[query, reference])
            column += len(references.ids)
        start += len(queries.ids)
        bar.update(len(queries.ids))
    bar.close()
    query, reference, kept = best.finish()
    return Matches(np.concatenate(names[0])[query], np.concatenate(names[1])[reference], kept)


def _usual(run: Run, branch: config.Asmk, queries: Codes) -> np.ndarray:
    """Return (queries,) what is subtracted from their scores."""
    if not branch.norm_factor:
        return np.zeros(len(queries.ids))
    folder = run.fitted(run.workspace.code_bank(run.name, branch.name))
    train = read_code_shards(folder)
    usual = asmk.background(queries, train, rank=branch.norm_rank, alpha=branch.alpha, threshold=branch.threshold)
    return branch.norm_factor * usual


def _shards(run: Run, image_set: str, branch: config.Asmk) -> Iterator[Codes]:
    folder = _folder(run, image_set, branch)
    run.finished(folder)
    return read_code_shards(folder)


def _folder(run: Run, image_set: str, branch: config.Asmk) -> Path:
    return run.described.codes(run.name, image_set, branch.name)
