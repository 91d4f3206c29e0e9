"""Rule 5.5, what is fitted: PCA, banks, thresholds, quantisers and codebooks come from train images only.

Receipts say so, of every file in the checkpoint folder; then the fit is done again from the train embeddings, and a
batch of these again from the images.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from isckit.data.layouts import require
from isckit.judge.audit.compare import file_gap, relative_gap
from isckit.judge.rules.experiments.contestant import Drawn
from isckit.judge.rules.experiments.trials import again, scratch
from isckit.judge.rules.finding import Case, Finding, judged
from isckit.judge.rules.independence import tolerance
from isckit.judge.rules.suspicion import suspect_descriptors
from isckit.judge.state import WORDS, parts, receipt_of, receipted
from isckit.runs.artifacts import file_digest, read_receipt
from isckit.runs.embeddings import read_embeddings, read_shards
from isckit.runs.records import Receipt, read_json
from isckit.runs.workspace import Workspace
from isckit.types import BadInput, Embeddings, Role
from isckit.vectors.pca import load_pca


def fitted_on_train(case: Case) -> Finding:
    """Judge rule 5.5-fit: all fitted parts were fitted on train images, and are what the submission was made with."""
    if not case.workspace.ensemble(case.name).is_file():
        return Finding("unknown", "none", f"no fitted parts in {case.checkpoint}")
    problems = _declared(case)
    more = len(_further(case.workspace, case.name))
    examined = f"PCA, bank{f', {more} more fitted files' if more else ''} and their receipts"
    path = case.workspace.descriptors(case.phase, case.name)
    if path.is_file():
        found, tested = _suspected(path)
        problems += found
        examined += f"; {tested}"
    folders = [case.workspace.embeddings(case.name, "train", member.name) for member in case.recipe.members]
    if case.probe is None or case.probe.sample == 0:
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
    """Return what the vectors say of themselves, and what was examined."""
    try:
        tests = suspect_descriptors(path)
    except BadInput as error:
        # Vectors that are no numbers are the business of rule 5.7.
        return [], f"vectors not tested ({error.seen})"
    examined = f"{sum(test.statistic is not None for test in tests)} suspicion tests on the vectors"
    return [str(test) for test in tests if test.suspicious], examined


def _declared(case: Case) -> list[str]:
    """Return what the receipts give away."""
    workspace, name = case.workspace, case.name
    roles = {"PCA": load_pca(workspace.ensemble(name)).fitted_on.value}
    for path in receipted(case.checkpoint):
        if role := read_receipt(path)["facts"].get("fitted_on"):
            roles[f"{_words(case, path)} receipt"] = role
    problems = [f"{what} fitted on {role}" for what, role in roles.items() if not Role(role).may_be_fitted_on]
    named = {"PCA": workspace.ensemble(name), "bank": workspace.bank(name)} | _further(workspace, name)
    problems += [
        f"{part}: no receipt says what it was fitted on"
        for part, path in named.items()
        if not (receipt_of(path).is_file() and "fitted_on" in read_json(receipt_of(path), Receipt)["facts"])
    ]
    for path in (workspace.descriptors(case.phase, name), workspace.matches(case.phase, name)):
        if path.is_file():
            used = read_receipt(path)["made_from"]
            problems += [
                f"{path.name} was made with another {part}"
                for part, source in parts(workspace, name).items()
                if part in used and (not source.is_file() or used[part] != file_digest(source))
            ]
    return problems


def _words(case: Case, path: Path) -> str:
    """Return what people call a fitted part."""
    named = {file: WORDS[part] for part, file in parts(case.workspace, case.name).items() if part in WORDS}
    return named.get(path, path.relative_to(case.checkpoint).as_posix())


def _further(workspace: Workspace, name: str) -> dict[str, Path]:
    """Return what was fitted beside PCA and bank, by its path in the checkpoint folder."""
    return {part: path for part, path in parts(workspace, name).items() if part not in WORDS}


def _refitted(case: Case, folder: Path) -> tuple[list[str], str]:
    """Fit once more, from the train embeddings, and compare."""
    there = scratch(case.workspace, case.name, folder / "fit", cache=True)
    again("fit", there, case.name)
    before, after = (load_pca(workspace.ensemble(case.name)) for workspace in (case.workspace, there))
    problems = []
    if before.components.shape != after.components.shape:
        problems.append(f"PCA of {before.components.shape} instead of {after.components.shape} fitted on train")
    elif (gap := file_gap(*(w.ensemble(case.name) for w in (case.workspace, there)))) > tolerance(case):
        problems.append(f"the PCA is not the one that train images give: it differs by {gap:.2g}")
    banks = [read_embeddings(workspace.bank(case.name)) for workspace in (case.workspace, there)]
    if not np.array_equal(banks[0].ids, banks[1].ids):
        problems.append("the bank has other ids than the train embeddings")
    elif not problems and (gap := relative_gap(banks[0].vectors, banks[1].vectors)) > tolerance(case):
        problems.append(f"the bank is not the one that train images give: it differs by {gap:.2g}")
    problems += _other_parts(case, there)
    own = {part: path for part, path in parts(there, case.name).items() if part != "weights"}
    here = parts(case.workspace, case.name)
    same = all(part in here and file_digest(path) == file_digest(here[part]) for part, path in own.items())
    return problems, f"fitted again on {len(banks[1].ids)} train images" + (", same bytes" if same else "")


def _other_parts(case: Case, there: Workspace) -> list[str]:
    """Fitted parts beside PCA and bank that train images do not give."""
    before, after = _further(case.workspace, case.name), _further(there, case.name)
    problems = [f"{part} is fitted on train, and is not there" for part in after if part not in before]
    for part, path in before.items():
        gap = file_gap(path, after[part]) if part in after else np.inf
        if gap > tolerance(case):
            how = f"it differs by {gap:.2g}" if part in after else "there is none"
            problems.append(f"{part} is not the one that train images give: {how}")
    return problems


def _described_again(case: Case, folder: Path) -> tuple[list[str], str]:
    """Describe one batch of train images once more, and compare with the embeddings that the fit is made from."""
    assert case.disc is not None and case.probe is not None
    images, batch = require(case.disc, "train"), case.recipe.extract.batch_images
    start = int(np.random.default_rng(case.probe.seed).integers(max(1, len(images) // batch))) * batch
    drawn = Drawn.as_they_are(images, np.arange(start, min(start + batch, len(images))))
    drawn.lay_out(folder / "images" / "train")
    there = scratch(case.workspace, case.name, folder / "describe", codebooks=True)
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
