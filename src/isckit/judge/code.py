"""The code that a submission is made with: its files, one digest over them, and the commit it stands at."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import isckit
from isckit.storage.artifacts import file_digest

PACKAGE = Path(isckit.__path__[0])


def code_files(package: Path = PACKAGE) -> dict[str, str]:
    """sha256 of every source file of a package, by its path in the package, in the order of these paths."""
    paths = {path.relative_to(package).as_posix(): path for path in package.rglob("*.py")}
    return {name: file_digest(paths[name]) for name in sorted(paths)}


def code_digest(package: Path = PACKAGE) -> str:
    """sha256 over the sorted list of `code_files`, one "path digest" a line."""
    lines = (f"{name} {digest}\n" for name, digest in code_files(package).items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def commit(package: Path = PACKAGE) -> dict[str, Any]:
    """Commit of the checkout that a package lies in, and whether the package differs from it; empty outside of one."""
    answers = []
    for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", str(package)]):
        try:
            done = subprocess.run(["git", "-C", str(package), *arguments], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return {}
        answers.append(done.stdout.strip())
    return {"commit": answers[0], "dirty": bool(answers[1])}
