import re
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


@pytest.mark.parametrize("script", ["run_phase1.sh", "run_phase2.sh", "train_default.sh"])
@pytest.mark.parametrize("arguments", [["-h"], ["--help"], ["--data", "x", "--help"]])
def test_help_is_the_head_of_the_script_and_does_nothing_else(script, arguments, tmp_path):
    ended = subprocess.run([ROOT / script, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    head = (ROOT / script).read_text().splitlines()[1:]
    head = head[: next(at for at, line in enumerate(head) if not line.startswith("#"))]
    assert ended.stdout.splitlines() == [line.removeprefix("# ").removeprefix("#") for line in head]
    usage = next(line for line in ended.stdout.splitlines() if line.startswith(f"  ./{script}"))
    assert "--data DIR" in usage and not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", ["run_phase1.sh", "run_phase2.sh", "train_default.sh"])
def test_the_usage_names_every_option_that_the_script_takes(script):
    text = (ROOT / script).read_text()
    usage = next(line for line in text.splitlines() if line.startswith(f"#   ./{script}"))
    allowed = text.split("allowed: ")[1].split('"')[0].split()
    assert set(re.findall(r"--[a-z-]+", usage)) | {"--help"} == set(allowed)


@pytest.mark.parametrize(
    ("recipe", "kept"),
    [("mine.yaml", "mine"), ("sub/my.own.py", "my.own"), ("mine.json", "mine"), ("lyakaap.mini", "lyakaap.mini")],
)
def test_phase_1_takes_a_recipe_file_from_where_it_is_called_and_names_the_run_after_it(tmp_path, recipe, kept):
    kit = tmp_path / "kit"
    (kit / ".venv/bin").mkdir(parents=True)
    (kit / "run_phase1.sh").write_text((ROOT / "run_phase1.sh").read_text())
    # The command is replaced by one that prints what it is called with.
    (kit / "setup.sh").write_text('isckit_setup() { :; }\nisckit() { echo "$@"; }\neverywhere() { isckit "$@"; }\n')
    called_from = tmp_path / "elsewhere"
    (called_from / "sub").mkdir(parents=True)
    is_file = "mini" not in recipe
    if is_file:
        (called_from / recipe).touch()
    command = ["bash", kit / "run_phase1.sh", "--recipe", recipe, "--data", "x"]
    ended = subprocess.run(command, cwd=called_from, capture_output=True, text=True, check=True)
    train = next(line for line in ended.stdout.splitlines() if line.startswith("train"))
    file = called_from / recipe if is_file else recipe
    assert train == f"train --name {kept} --data {called_from / 'x'} --recipe {file}"


def test_nothing_names_a_registry_or_a_path_of_one_machine():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    for name in tracked:
        path = ROOT / name
        if path.suffix in (".py", ".sh", ".md", ".toml", ".txt"):
            assert "/ro" + "ot/" not in path.read_text() and "/wo" + "rk/" not in path.read_text(), name
