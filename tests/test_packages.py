"""What is imported, required, pinned and licensed agrees; setup.sh installs it once, and again when it changes."""

import ast
import re
import stat
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest

from isckit.runs.artifacts import PACKAGES

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "isckit"
IMPORTED_AS = {
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "scikit-learn": "sklearn",
    "PyYAML": "yaml",
    "faiss-gpu": "faiss",
    "pytorch-metric-learning": "pytorch_metric_learning",
}
"""Import names that differ from the name of the package."""
NOT_IMPORTED = {"pytest-xdist", "ruff", "mypy", "types-PyYAML", "pandas-stubs"}
"""Of requirements-dev.txt: plug-ins, tools and type stubs. Everything in requirements.txt is imported."""


def pins(name: str) -> dict[str, str]:
    """Package -> version of a requirements file; every line is a comment, another file, or a pin."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith(("#", "-r "))]
    found = [re.fullmatch(r"([\w-]+)==([\w.]+)", line) for line in lines]
    assert all(found), [line for line, pin in zip(lines, found, strict=True) if not pin]
    return dict(pin.groups() for pin in found)


RUN, BROUGHT, DEV, EXPORT, RAY = map(
    pins,
    (
        "requirements.txt",
        "constraints.txt",
        "requirements-dev.txt",
        "requirements-export.txt",
        "requirements-ray.txt",
    ),
)


def imports(*folders: str) -> set[str]:
    """Top-level names that the Python files of folders import, at the top or late, but for Python's own."""
    names = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names


def modules(packages) -> set[str]:
    return {IMPORTED_AS.get(name, name) for name in packages}


def test_the_requirements_are_what_the_package_imports():
    assert imports("src") - {"isckit"} == modules(RUN | RAY)


def test_tests_benchmarks_and_examples_import_what_is_required_for_them():
    own = {path.stem for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*")}
    found = imports("tests", "benchmarks", "examples") - own - {"isckit"}
    assert found <= modules(RUN | DEV | EXPORT)
    assert modules(DEV.keys() - NOT_IMPORTED) <= found and DEV.keys() >= NOT_IMPORTED


def test_each_package_is_pinned_once():
    files = (RUN, BROUGHT, DEV, EXPORT, RAY)
    assert len(RUN | BROUGHT | DEV | EXPORT | RAY) == sum(map(len, files))


def needs(name: str) -> set[str]:
    """Normalised names of all that a package brings in, with what these bring in."""
    found, left = set(), [name]
    while left:
        try:
            lines = requires(left.pop()) or []
        except PackageNotFoundError:  # needed on other systems only
            continue
        direct = {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in lines if "extra ==" not in line}
        left += direct - found
        found |= direct
    return found


def test_constraints_pin_what_the_requirements_bring_in():
    assert BROUGHT.keys() <= set().union(*map(needs, RUN))


def test_receipts_record_packages_that_every_installation_has():
    assert set(PACKAGES) <= RUN.keys() | BROUGHT.keys()


def test_the_third_party_list_has_exactly_the_pinned_packages_each_with_a_licence():
    section = (ROOT / "THIRD_PARTY.md").read_text().partition("## Packages")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([\w-]+) \| ([^|]+) \| [^|]+ \|$", section, re.MULTILINE)
    listed = [name for name, _ in rows if name != "package"]
    assert listed == [*RUN, *BROUGHT, *EXPORT, *RAY, *DEV] and all(licence.strip(" -") for _, licence in rows)


PROGRAM = '#!/usr/bin/env bash\necho "$(basename "$0") $*" >>"{log}"\n'


@pytest.fixture
def checkout(tmp_path):
    """A checkout with a made environment whose Python only writes its arguments down."""
    for name in ("setup.sh", "requirements.txt", "requirements-dev.txt", "constraints.txt", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for program in (tmp_path / ".venv/bin/python", tmp_path / "tools/uv"):
        program.parent.mkdir(parents=True)
        program.write_text(PROGRAM.format(log=tmp_path / "log"))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return tmp_path


def set_up(checkout: Path, requirements: str, *, uv: bool) -> list[str]:
    """Run isckit_setup; returns what it installed."""
    (checkout / "log").write_text("")
    path = f"{checkout / 'tools'}:/usr/bin:/bin" if uv else "/usr/bin:/bin"
    script = f'set -euo pipefail; here="{checkout}"; source "$here/setup.sh"; isckit_setup {requirements}'
    environment = {"PATH": path, "ISCKIT_PYTHON": sys.executable}
    subprocess.run(["bash", "-c", script], env=environment, check=True, capture_output=True)
    return [line for line in (checkout / "log").read_text().splitlines() if " install " in line]


@pytest.mark.parametrize("uv", [True, False])
@pytest.mark.parametrize("requirements", ["requirements.txt", "requirements-dev.txt"])
def test_setup_installs_under_the_constraints_once_and_again_when_a_pin_changes(checkout, requirements, uv):
    packages, own = set_up(checkout, requirements, uv=uv)
    assert packages.split()[0] == ("uv" if uv else "python")
    assert f"-r {checkout / requirements} -c {checkout / 'constraints.txt'}" in packages
    assert own.endswith(f"--no-deps -e {checkout}")
    assert set_up(checkout, requirements, uv=uv) == []
    for name in {"constraints.txt", "requirements.txt", requirements, "pyproject.toml"}:
        (checkout / name).write_text((checkout / name).read_text() + "# changed\n")
        assert len(set_up(checkout, requirements, uv=uv)) == 2, name
        assert set_up(checkout, requirements, uv=uv) == []


def test_contributing_names_files_and_names_that_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:md|txt|toml|sh))`", text))
    real = {path for path in paths if not re.search(r"[A-Z]{4,}\.py", path)}
    assert len(real) > 15 and len(paths) > len(real)
    assert [path for path in sorted(real) if not any((folder / path).exists() for folder in (ROOT, PACKAGE))] == []
    for path, name in re.findall(r"`(\w+)` (?:in|of) `([\w/]+\.py)`", text):
        assert re.search(rf"\b{path}\b", (PACKAGE / name).read_text()), (path, name)
