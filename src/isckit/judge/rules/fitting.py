"""Rule 5.5, what is fitted: PCA and the bank of normalisations come from train images only."""

from __future__ import annotations

from isckit.judge.rules.finding import Case, Finding, judged
from isckit.storage.artifacts import file_digest, read_receipt
from isckit.types import Role
from isckit.vectors.pca import load_pca


def fitted_on_train(case: Case) -> Finding:
    """PCA and the bank of normalisations were fitted on train images only, and are the files whose receipts say so."""
    workspace, name = case.workspace, case.name
    problems = []
    roles = {"PCA": load_pca(workspace.ensemble(name)).fitted_on.value}
    for what, path in (("PCA receipt", workspace.ensemble(name)), ("bank receipt", workspace.bank(name))):
        roles[what] = read_receipt(path)["facts"]["fitted_on"]
    problems += [f"{what} fitted on {role}" for what, role in roles.items() if not Role(role).may_be_fitted_on]
    for path in (workspace.descriptors(case.phase, name), workspace.matches(case.phase, name)):
        if path.is_file():
            used = read_receipt(path)["made_from"]
            for part, source in (("ensemble", workspace.ensemble(name)), ("bank", workspace.bank(name))):
                if used[part] != file_digest(source):
                    problems.append(f"{path.name} was made with another {part}")
    return judged(problems, "declared", "PCA, bank and their receipts")
