"""A contestant's command sees the images laid before it, its own folder and what it may write; nothing else."""

import shlex
import sys
from pathlib import Path

import pytest

from isckit.judge.rules.experiments.contestant import Sees, start
from isckit.judge.rules.experiments.isolate import isolation, told
from isckit.types import BadInput

pytestmark = pytest.mark.skipif(not isolation(), reason="this kernel has no Landlock")

PROGRAM = """
import json, os, socket, sys
from pathlib import Path

def tried(what):
    try:
        what()
    except OSError as error:
        return type(error).__name__
    return "done"

images, out, secret = map(Path, sys.argv[1:4])
found = {
    "images": tried(lambda: next(images.iterdir()).read_bytes()),
    "own table": tried(lambda: Path(__file__).with_name("table.txt").read_text()),
    "secret": tried(secret.read_bytes),
    "secret folder": tried(lambda: list(secret.parent.iterdir())),
    "images changed": tried(lambda: next(images.iterdir()).write_bytes(b"x")),
    "own folder written": tried(lambda: Path(__file__).with_name("new.txt").write_text("x")),
    "root": tried(lambda: os.listdir("/root")),
    "home": tried(lambda: (Path.home() / "kept").write_text("x")),
    "network": tried(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[4])), timeout=2)),
}
(out / "found.json").write_text(json.dumps(found))
"""


def test_nothing_but_what_is_given_can_be_seen_or_written(tmp_path):
    import json
    import socket

    for name in ("images", "out", "secret", "program"):
        (tmp_path / name).mkdir()
    (tmp_path / "images/Q00000.jpg").write_bytes(b"picture")
    (tmp_path / "secret/labels.csv").write_text("Q00000,R000000")
    (tmp_path / "program/run.py").write_text(PROGRAM)
    (tmp_path / "program/table.txt").write_text("its own")
    command = f"{shlex.quote(sys.executable)} {tmp_path}/program/run.py {{images}} {{out}} {{secret}} {{port}}"
    with socket.create_server(("127.0.0.1", 0)) as server:
        values = {"images": tmp_path / "images", "out": tmp_path / "out", "secret": tmp_path / "secret/labels.csv"}
        sees = Sees((tmp_path / "images",), (tmp_path / "out",), tmp_path / "home")
        start(command, values | {"port": server.getsockname()[1]}, sees=sees)
    found = json.loads((tmp_path / "out/found.json").read_text())
    allowed = {"images", "own table", "home"}
    assert {name for name, outcome in found.items() if outcome == "done"} == allowed, found
    assert (tmp_path / "images/Q00000.jpg").read_bytes() == b"picture"
    assert not (Path.home() / "kept").exists() and (tmp_path / "home/kept").exists()
    assert "isolated (Landlock" in told()


def test_a_command_that_needs_more_fails_with_its_last_words(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "labels.csv").write_text("Q00000,R000000")
    command = f"{shlex.quote(sys.executable)} -c 'open(\"{tmp_path}/labels.csv\")'"
    start(command, {})
    with pytest.raises(BadInput, match="PermissionError"):
        start(command, {}, sees=Sees((), (tmp_path / "out",), tmp_path / "home"))
