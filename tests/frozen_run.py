"""A run at the end of phase 1, without images and weights: small files where the kit looks for them."""

import json
from pathlib import Path

import numpy as np

from isckit import config
from isckit.judge.freeze import seal
from isckit.runs.artifacts import rows_digest, write_receipt, write_text
from isckit.runs.workspace import Workspace
from isckit.submission import write_descriptors
from isckit.types import Embeddings, Role

RECIPE = config.Recipe(name="one", members=(config.Gist(),))


def finished_run(root: Path, name: str = "run") -> Workspace:
    """Weights, fitted parts, recipe, and the descriptors of phase 1."""
    workspace = Workspace(root)
    write_text(workspace.recipe(name), config.to_json(RECIPE))
    for path in (workspace.weights(name), workspace.ensemble(name), workspace.bank(name)):
        path.write_bytes(path.name.encode())
        write_receipt(path, made_from={}, facts={})
    describe(workspace, 1, name)
    return workspace


def describe(workspace: Workspace, phase: int, name: str = "run", *, factor: float = 1) -> Path:
    """Write descriptors of a phase: the references are those of the other phase times `factor`."""
    path, rng = workspace.descriptors(phase, name), np.random.default_rng(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    references = side(Role.REFERENCE, rng.normal(size=(70, 8)) * factor)
    write_descriptors(path, side(Role.QUERY, rng.normal(size=(9, 8)) + phase), references)
    write_receipt(path, made_from={}, facts={"reference_rows": rows_digest(references.ids, references.vectors)})
    return path


def side(role: Role, vectors: np.ndarray) -> Embeddings:
    """Embeddings with ids of the contest's form."""
    letter, width = ("Q", 5) if role is Role.QUERY else ("R", 6)
    ids = np.array([f"{letter}{k:0{width}d}" for k in range(len(vectors))])
    return Embeddings.whole(role, ids, vectors.astype(np.float32))


def reseal(path: Path, **sections: object) -> None:
    """Change values of a freeze file and give it a seal that fits, as a liar or another state would."""
    record = json.loads(path.read_text())
    for key, value in sections.items():
        record[key] = record[key] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(record | {"seal": seal(record)}))
