import subprocess

import isckit.judge.state
from isckit.judge.state import PACKAGE, code_digest, code_files, commit
from isckit.runs.artifacts import file_digest


def git(folder, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True)


def test_the_package_itself_is_listed_file_by_file():
    files = code_files()
    assert files["judge/state.py"] == file_digest(PACKAGE / "judge" / "state.py")
    assert list(files) == sorted(files) and len(files) == len(list(PACKAGE.rglob("*.py")))
    assert isckit.judge.state.__file__ == str(PACKAGE / "judge" / "state.py")


def test_the_digest_follows_names_and_contents_of_python_files_alone(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.py").write_text("1")
    before = code_digest(tmp_path)
    (tmp_path / "a" / "b.txt").write_text("1")
    assert code_digest(tmp_path) == before
    (tmp_path / "a" / "b.py").write_text("2")
    changed = code_digest(tmp_path)
    (tmp_path / "a" / "b.py").write_text("1")
    (tmp_path / "a" / "b.py").rename(tmp_path / "a" / "c.py")
    assert len({before, changed, code_digest(tmp_path)}) == 3


def test_a_commit_is_named_and_dirty_once_the_package_differs_from_it(tmp_path):
    package = tmp_path / "src"
    package.mkdir()
    (package / "a.py").write_text("1")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "a")
    (tmp_path / "beside.txt").write_text("not of the package")
    clean = commit(package)
    assert len(clean["commit"]) == 40 and clean["dirty"] is False
    (package / "a.py").write_text("2")
    assert commit(package) == clean | {"dirty": True}


def test_outside_of_a_checkout_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit(tmp_path) == {}
