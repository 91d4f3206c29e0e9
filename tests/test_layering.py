import ast
import graphlib
import re
from pathlib import Path

import pytest

import isckit

ROOT = Path(isckit.__path__[0])
LAYERS = [
    ["types", "config"],
    ["runs"],
    ["data"],
    ["views", "augment", "features"],
    ["models", "synthetic"],
    ["losses"],
    ["engine", "vectors"],
    ["submission"],
    ["matching"],
    ["judge"],
    ["recipes"],
    ["tracks"],
    ["studies"],
    ["api"],
    ["cli"],
    ["__main__"],
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
FLOOR = LAYERS[0]
TORCH_FREE = (
    "vectors",
    "matching",
    "submission",
    "judge",
    "types",
    "config",
    "synthetic",
    "studies",
    "recipes",
    "cli",
)
MODULES = sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0]


def imported(tree: ast.AST, *, top_level_only: bool = False) -> set[str]:
    nodes = tree.body if top_level_only else ast.walk(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_only_from_lower_layers_or_its_own_room(path):
    own = room(path)
    if own == "__init__":
        return
    for name in imported(ast.parse(path.read_text())):
        if name.startswith("isckit."):
            other = name.split(".")[1]
            if other == own or other not in LEVEL:
                continue
            if own in FLOOR and other in FLOOR:
                assert FLOOR.index(other) < FLOOR.index(own), f"{path} imports {name}"
            else:
                assert LEVEL[other] < LEVEL[own], f"{path} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_torch_stays_left_of_the_waist(path):
    if room(path) not in TORCH_FREE and "runs" not in path.parts:
        return
    if path.name in ("checkpoints.py", "pickles.py", "codes.py", "variants.py", "device.py"):
        return
    names = imported(ast.parse(path.read_text()))
    assert not {n for n in names if n.split(".")[0] in ("torch", "torchvision", "timm")}, path


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert text.count("\n") <= 310
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{path}: {node.name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_public_functions_are_typed_and_documented(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path}: {node.name}"
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            assert node.returns is not None and all(a.annotation for a in arguments), f"{path}: {node.name}"


def test_there_are_no_circles_not_within_a_room_and_not_by_late_imports():
    name_of = {
        path: ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in MODULES
    }
    names = set(name_of.values())
    graph = {name: imported(ast.parse(path.read_text())) & names - {name, "isckit"} for path, name in name_of.items()}
    assert len(graph) > 100 and "isckit.types" in graph["isckit.runs.artifacts"]
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_nothing_outside_its_own_file_asks_which_kind_a_branch_is():
    kinds = r"isinstance\([^)]*\b(Views|Agreement|Local|Pairs|Asmk)\b|case config\.(Views|Agreement|Local|Pairs|Asmk)\b"
    assert [str(p) for p in MODULES if re.search(kinds, p.read_text())] == []


def test_package_files_stay_empty():
    assert {p.parent.name for p in ROOT.rglob("__init__.py") if p.read_text().strip()} == {"config", "isckit"}


def test_a_check_does_not_import_torch():
    import subprocess
    import sys

    code = "import sys, isckit.cli.main, isckit.judge.rules.form, isckit.submission; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
