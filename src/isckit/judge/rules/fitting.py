"""Rule 5.5, what is fitted: PCA and the bank of normalisations come from train images only.

Receipts say so; then the fit is done again from the train embeddings, and a batch of these again from the images.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from isckit.data.layouts import require
from isckit.judge.contestant import Drawn
from isckit.judge.rules.finding import Case, Finding, judged
from isckit.judge.rules.independence import tolerance
from isckit.judge.scratch import again, scratch
from isckit.judge.suspicion import suspect_descriptors
from isckit.storage.artifacts import file_digest, read_receipt
from isckit.storage.descriptors import read_embeddings, read_shards
from isckit.types import BadInput, Embeddings, Role
from isckit.vectors.pca import load_pca
from isckit.workspace import Workspace


def fitted_on_train(case: Case) -> Finding:
    """PCA and the bank of normalisations were fitted on train images, and are what the submission was made with."""
    if not case.workspace.ensemble(case.name).is_file():
        return Finding("unknown", "none", f"no fitted parts in {case.checkpoint}")
    problems = _declared(case)
    examined = "PCA, bank and their receipts"
    path = case.workspace.descriptors(case.phase, case.name)
    if path.is_file():
        found, tested = _suspected(path)
        problems += found
        examined += f"; {tested}"
    folders = [case.workspace.embeddings(case.name, "train", member.name) for member in case.recipe.members]
    if case.probe is None or not case.probe.sample:
        return judged(problems, "declared", examined, note="not fitted again")
    if not all(any(folder.glob("shard-*.h5")) for folder in folders):
        return judged(problems, "declared", examined, note="no train embeddings to fit again from: audit replay --full")
    with tempfile.TemporaryDirectory(prefix="isckit-") as folder:
        found, compared = _refitted(case, Path(folder))
        problems += found
        examined += f"; {compared}"
        if case.disc is None or case.disc.train is None:
            return judged(problems, "declared", examined, note="no train images to describe again")
        found, compared = _described_again(case, Path(folder))
    return judged(problems + found, "sampled", f"{examined}; {compared}")


def _suspected(path: Path) -> tuple[list[str], str]:
    """What the vectors say of themselves."""
    try:
        tests = suspect_descriptors(path)
    except BadInput as error:
        # Vectors that are no numbers are the business of rule 5.7.
        return [], f"vectors not tested ({error.seen})"
    examined = f"{sum(test.statistic is not None for test in tests)} suspicion tests on the vectors"
    return [str(test) for test in tests if test.suspicious], examined


def _declared(case: Case) -> list[str]:
    """What the receipts give away."""
    workspace, name = case.workspace, case.name
    roles = {"PCA": load_pca(workspace.ensemble(name)).fitted_on.value}
    for what, path in (("PCA receipt", workspace.ensemble(name)), ("bank receipt", workspace.bank(name))):
        roles[what] = read_receipt(path)["facts"]["fitted_on"]
    problems = [f"{what} fitted on {role}" for what, role in roles.items() if not Role(role).may_be_fitted_on]
    for path in (workspace.descriptors(case.phase, name), workspace.matches(case.phase, name)):
        if path.is_file():
            used = read_receipt(path)["made_from"]
            for part, source in (("ensemble", workspace.ensemble(name)), ("bank", workspace.bank(name))):
                if used[part] != file_digest(source):
                    problems.append(f"{path.name} was made with another {part}")
    return problems


def _refitted(case: Case, folder: Path) -> tuple[list[str], str]:
    """Fit once more, from the train embeddings, and compare."""
    there = scratch(case.workspace, case.name, folder / "fit", cache=True)
    again("fit", there, case.name)
    before, after = (load_pca(workspace.ensemble(case.name)) for workspace in (case.workspace, there))
    problems = []
    if before.components.shape != after.components.shape:
        problems.append(f"PCA of {before.components.shape} instead of {after.components.shape} fitted on train")
    elif (gap := max(_gap(before.mean, after.mean), _gap(before.components, after.components))) > tolerance(case):
        problems.append(f"the PCA is not the one that train images give: it differs by {gap:.2g}")
    banks = [read_embeddings(workspace.bank(case.name)) for workspace in (case.workspace, there)]
    if not np.array_equal(banks[0].ids, banks[1].ids):
        problems.append("the bank has other ids than the train embeddings")
    elif not problems and (gap := _gap(banks[0].vectors, banks[1].vectors)) > tolerance(case):
        problems.append(f"the bank is not the one that train images give: it differs by {gap:.2g}")
    same = all(
        file_digest(part(case.workspace)) == file_digest(part(there))
        for part in (lambda w: w.ensemble(case.name), lambda w: w.bank(case.name))
    )
    return problems, f"fitted again on {len(banks[1].ids)} train images" + (", same bytes" if same else "")


def _described_again(case: Case, folder: Path) -> tuple[list[str], str]:
    """Describe one batch of train images once more, and compare with the embeddings that the fit is made from."""
    assert case.disc is not None and case.probe is not None
    images, batch = require(case.disc, "train"), case.recipe.extract.batch_images
    start = int(np.random.default_rng(case.probe.seed).integers(max(1, len(images) // batch))) * batch
    drawn = Drawn.as_they_are(images, np.arange(start, min(start + batch, len(images))))
    drawn.lay_out(folder / "images" / "train")
    there = scratch(case.workspace, case.name, folder / "describe")
    options = "--data {data} --sets train --workers 0"
    again("extract", there, case.name, options=options, values={"data": folder})
    problems = []
    largest = 0.0
    for member in case.recipe.members:
        before, after = (_rows(workspace, case.name, member.name, drawn.ids) for workspace in (case.workspace, there))
        if not np.array_equal(before.ids, after.ids):
            problems.append(f"{member.name}: the train embeddings are of other images")
            continue
        gaps = np.linalg.norm(before.vectors - after.vectors, axis=1)
        largest = max(largest, float(gaps.max(initial=0)))
        wrong = before.ids[gaps > tolerance(case)]
        if len(wrong):
            problems.append(f"{member.name}: {len(wrong)} train embeddings are not those of their images: {wrong[0]}")
    return problems, f"{len(drawn.rows)} of them described again, largest difference {largest:.1e}"


def _rows(workspace: Workspace, name: str, member: str, ids: np.ndarray) -> Embeddings:
    parts = [part.take(np.isin(part.ids, ids)) for part in read_shards(workspace.embeddings(name, "train", member))]
    kept = [part for part in parts if len(part.ids)] or parts[:1]
    return Embeddings.joined(kept)


def _gap(before: np.ndarray, after: np.ndarray) -> float:
    """Largest difference as a part of the array's root mean square."""
    if before.shape != after.shape:
        return np.inf
    scale = float(np.sqrt(np.mean(np.square(after, dtype=np.float64)))) or 1.0
    return float(np.abs(before.astype(np.float64) - after).max(initial=0)) / scale
