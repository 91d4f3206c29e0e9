"""The chain of verbs of the run scripts, at a size for tests."""

from pathlib import Path

from isckit.cli.main import main

SETTINGS = [
    "members.network.backbone.name=test_resnet",
    "members.network.dim=32",
    "members.network.image_size=32",
    "members.network.canvas=64",
    "members.network.stages.main.epochs=2",
    "members.network.stages.main.images_per_epoch=48",
    "members.network.stages.main.batch_images=16",
    "members.network.stages.main.loss.memory=64",
    "ensemble.dim=40",
    "extract.shard_images=16",
    "matching.branches.views.query_views=[mirror, quarters]",
    "matching.branches.views.reference_views=[centre]",
]
ROOTED = {"train", "extract", "fit", "descriptor", "matching", "freeze", "frozen", "manifest"}


def verbs(root: Path, data: Path, *, phase: int, name: str = "run") -> list[list[str]]:
    """Argument lists of all verbs of a phase, in order."""
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    begin = ["train", "--name", name, "--data", data, "--recipe", "baseline.tiny", *settings, "--workers", "0"]
    sets = ["train", "references", "queries"] if phase == 1 else ["references", "final_queries"]
    chosen = [word for image_set in sets for word in ("--sets", image_set)]
    folder = root / "submissions" / f"phase{phase}" / name
    extract = ["extract", "--name", name, "--data", data, *chosen, "--workers", "0"]
    tracks = [[track, "--name", name, "--phase", phase] for track in ("descriptor", "matching")]
    judged = [
        ["check", folder, "--data", data, "--sample", 0],
        ["score", folder, "--data", data, "--bootstrap", "20"],
        ["manifest", "--name", name, "--phase", phase, "--data", data],
    ]
    if phase == 1:
        chain = [begin, extract, ["fit", "--name", name], *tracks, ["freeze", "--name", name], *judged]
    else:
        chain = [["frozen", "--name", name], extract, *tracks, *judged]
    return [[*map(str, verb), *(["--root", str(root)] if verb[0] in ROOTED else [])] for verb in chain]


def run_phase(root: Path, data: Path, *, phase: int) -> None:
    """Run all verbs of a phase."""
    for verb in verbs(root, data, phase=phase):
        assert main(verb) == 0, verb


def files(root: Path, *, phase_1_only: bool = False) -> dict[str, bytes]:
    """Bytes of everything that a run decides: not receipts and logs, which hold seconds, nor times of files."""
    kept = [p for p in sorted(root.rglob("*")) if p.suffix in (".h5", ".csv", ".npz", ".safetensors")]
    kept = [p for p in kept if not (p.name.startswith("shard-") and p.suffix == ".npz")]
    named = {str(p.relative_to(root)): p.read_bytes() for p in kept}
    return {k: v for k, v in named.items() if not (phase_1_only and ("phase2" in k or "final_queries" in k))}
