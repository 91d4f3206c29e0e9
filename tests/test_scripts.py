import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = ["run_phase1.sh", "run_phase2.sh", "train_default.sh", "setup.sh", "tests/run.sh", ".ci/run"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_valid_shell(script):
    assert subprocess.run(["bash", "-n", ROOT / script], check=False).returncode == 0


@pytest.mark.parametrize("script", ["run_phase1.sh", "run_phase2.sh", "train_default.sh"])
@pytest.mark.parametrize("arguments", [["--nonsense", "x"], ["--data"]])
def test_wrong_arguments_end_with_a_message_and_exit_code_2(script, arguments):
    ended = subprocess.run([ROOT / script, *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and ended.stderr.startswith("seen:"), ended


def test_phase_2_neither_trains_nor_fits():
    verbs = [line.split()[:2] for line in (ROOT / "run_phase2.sh").read_text().splitlines()]
    called = {words[1] for words in verbs if words and words[0] in ("isckit", "everywhere") and len(words) > 1}
    assert {"frozen", "extract", "descriptor", "matching", "check", "score", "manifest"} <= called
    assert not called & {"train", "fit", "freeze"}


def test_the_verbs_are_the_documented_ones():
    import typer.main

    from isckit.cli.main import app

    readme = (ROOT / "README.md").read_text()
    names = set(typer.main.get_command(app).commands)
    assert names == {
        "doctor", "train", "extract", "fit", "descriptor", "matching", "freeze", "frozen", "score", "check", "manifest",
        "data", "recipes", "infer", "audit", "ledger", "describe", "export", "ablate", "augment",
        "baselines", "breakdown", "detect",
    }  # fmt: skip
    assert all(f"isckit {name}" in readme for name in names)
    of_data = typer.main.get_command(app).commands["data"].commands
    assert set(of_data) == {"synthetic", "sheet", "pack"}
    assert all(f"isckit data {name}" in readme for name in of_data)


def test_nothing_names_a_registry_or_a_path_of_one_machine():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    for name in tracked:
        path = ROOT / name
        if path.suffix in (".py", ".sh", ".md", ".toml", ".txt"):
            assert "/ro" + "ot/" not in path.read_text() and "/wo" + "rk/" not in path.read_text(), name
