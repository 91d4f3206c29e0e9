from pathlib import Path

import pytest
from spoiled import case_of, caught_by, change_recipe

from isckit.judge.rules.finding import CHECKOUT
from isckit.judge.rules.package import dead_paths, recognise_licence, requirements, winners_duties
from isckit.types import BadInput

MIT = """MIT License

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software, to deal in the Software without restriction, including ...
"""
BSD2 = "Redistribution and use in source and binary forms, with or without modification, are permitted"
PACKAGE = {
    "LICENSE": MIT,
    "README.md": "# kit\n\n```sh\n./run.sh --data /data/DISC21\n```\n",
    "requirements.txt": "# numerics\nnumpy==2.4.6\nPy_YAML[fast]==6.0 ; python_version > '3'\n",
    "requirements-dev.txt": "-r requirements.txt\npytest\n",
    "THIRD_PARTY.md": "| package | licence |\n|---|---|\n| NumPy | BSD-3-Clause |\n| `py-yaml` | MIT |\n",
    "pyproject.toml": "[project]\nname = 'kit'\n",
    "src/kit.py": '"""Reads {away}/x, for example."""\n\nPATH = "data/x"  # or {away}/x\n',
}
HOME = "/".join(["", "home", "ann", "weights.pth"])
AWAY = "/".join(["", "data", "nowhere-at-all", "x.bin"])


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    for name, text in PACKAGE.items():
        write(folder, name, text.replace("{away}/x", AWAY))
    return folder


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("phase", [1, 2])
def test_the_kit_keeps_the_winners_duties(done, phase):
    finding = winners_duties(case_of(done, phase=phase))
    assert (finding.status, finding.level, finding.detail) == ("passed", "proven", "")
    assert "not run in a clean room" in finding.examined


def test_a_small_package_passes(done, project):
    assert winners_duties(case_of(done, project=project)).detail == ""


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("LICENSE", None, "no LICENSE file"),
        ("LICENSE", "All rights reserved.", "not the text of a known permissive licence"),
        (
            "LICENSE",
            "GNU GENERAL PUBLIC LICENSE\n  Version 3, 29 June 2007",
            "LICENSE is not the text of a known permissive licence",
        ),
        ("LICENSE", MIT + "for non-commercial use only", "LICENSE is not the text of a known permissive licence"),
        ("README.md", None, "no README"),
        ("README.md", "# kit\n\nRun it.\n\n```json\n{}\n```\n", "no block of shell commands"),
        ("README.md", "# kit\n\n```sh\n```\n", "no block of shell commands"),
        ("requirements.txt", "numpy>=2\npy-yaml==6.0\n", "1 requirements are not pinned with ==: numpy"),
        ("requirements.txt", "numpy==2.*\npy-yaml==6.0\n", "not pinned with ==: numpy"),
        ("requirements.txt", "numpy==2.4,<3\n", "not pinned with ==: numpy"),
        ("requirements.txt", "numpy @ https://a.example/n.whl\n", "not pinned with ==: numpy"),
        ("requirements.txt", "numpy==2.4.6\nscipy==1.0\n", "THIRD_PARTY.md does not name 1 requirements: scipy"),
        ("THIRD_PARTY.md", None, "no list of third-party licences"),
        ("THIRD_PARTY.md", "numpy-extra and py-yaml", "does not name 1 requirements: numpy"),
        ("src/kit.py", f'x = 1\nPATH = "{HOME}"\n', f"src/kit.py, line 2: {HOME}"),
        ("run.sh", f"#!/bin/sh\n# {AWAY}\nrun {AWAY}\n", f"run.sh, line 3: {AWAY}"),
        ("recipes/a.json", f'{{"pretrained": "{AWAY}"}}', f"recipes/a.json, line 1: {AWAY}"),
    ],
)
def test_a_package_that_lacks_something_is_caught_by_this_rule_alone(done, disc, project, name, text, words):
    if text is None:
        (project / name).unlink()
    else:
        write(project, name, text)
    finding = winners_duties(case_of(done, project=project))
    assert (finding.status, finding.level) == ("failed", "proven") and words in finding.detail
    assert caught_by(case_of(done, project=project, disc=disc)) == {"winners_duties"}


def test_without_any_requirements_there_is_no_lock(done, project):
    (project / "requirements.txt").unlink()
    (project / "requirements-dev.txt").unlink()
    assert "no lock of the environment" in winners_duties(case_of(done, project=project)).detail


def test_no_checkout_is_unknown(done, tmp_path):
    assert winners_duties(case_of(done, project=tmp_path)).status == "unknown"
    write(tmp_path, "pyproject.toml", "")
    assert winners_duties(case_of(done, project=tmp_path)).status == "failed"


def test_the_checkpoint_needs_weights_their_digest_a_seed_and_live_paths(copy):
    checkpoint = copy / "checkpoints/run"
    change_recipe(copy, lambda values: values.pop("seed"))
    change_recipe(copy, lambda values: values["members"][0].update(pretrained=HOME))
    detail = winners_duties(case_of(copy)).detail
    assert "no seed is recorded" in detail and HOME in detail and "run/recipe.json, line" in detail
    receipt = checkpoint / "weights.safetensors.receipt.json"
    receipt.unlink()
    assert "no digest" not in winners_duties(case_of(copy)).detail  # the freeze has it
    (checkpoint / "freeze.json").unlink()
    assert "no digest of weights.safetensors" in winners_duties(case_of(copy)).detail
    (checkpoint / "weights.safetensors").unlink()
    assert "no weights" in winners_duties(case_of(copy)).detail


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MIT, "MIT"),
        (BSD2, "BSD-2-Clause"),
        (BSD2 + " ...\n  Neither  the name of", "BSD-3-Clause"),
        ((CHECKOUT / "LICENSE").read_text(), "Apache-2.0"),
        ("Mozilla Public License Version 2.0", None),
        ("GNU Lesser General Public License", None),
        ("Creative Commons Attribution-NonCommercial 4.0", None),
        ("MIT", None),
    ],
)
def test_licences_are_recognised_by_their_text(text, expected):
    assert recognise_licence(text) == expected


@pytest.mark.parametrize(
    "line",
    [
        "data = '{here}/data/mini'",
        'x = f"{root}/data/x"',
        'url = "https://a.example/data/x"',
        "cd $here/data/mini",
        "open('images/data/x')",
        "re.compile('[A-Z:]')",
        "a = b /data/ c",
    ],
)
def test_relative_paths_addresses_and_divisions_are_no_dead_paths(tmp_path, line):
    assert dead_paths(write(tmp_path, "x.py", line + "\n")) == []


def test_a_path_that_is_there_lives_unless_it_is_a_home(tmp_path):
    there = Path(f"/{'mnt'}")
    if not there.is_dir():
        pytest.skip("no such folder here")
    assert dead_paths(write(tmp_path, "x.sh", f"ls {there}/.\n")) == []
    home = f"/{'root'}/."
    assert dead_paths(write(tmp_path, "x.sh", f"ls {home}\n")) == [(1, home)]


def test_windows_paths_are_dead(tmp_path):
    path = "\\\\".join(["C:", "Users", "ann"])
    assert dead_paths(write(tmp_path, "x.json", f'{{"a": "{path}"}}')) == [(1, path)]


def test_a_toml_lock_names_its_packages_without_the_project(project):
    (project / "requirements.txt").unlink()
    (project / "requirements-dev.txt").unlink()
    own = '[[package]]\nname = "kit"\nsource = { editable = "." }\n'
    write(project, "uv.lock", '[[package]]\nname = "NumPy"\nsource = { registry = "x" }\n' + own)
    assert requirements(project) == {"numpy": True}


def test_a_lock_that_is_none_is_refused(project):
    (project / "requirements.txt").unlink()
    (project / "requirements-dev.txt").unlink()
    write(project, "poetry.lock", "[[package]\n")
    with pytest.raises(BadInput, match="no lock file"):
        requirements(project)
