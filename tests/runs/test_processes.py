import shutil
import subprocess
import sys

from isckit.runs.workspace import Workspace

LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "isckit"]


def shards(root):
    folder = root / "cache" / "run"
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("shard-*"))}


def test_two_processes_describe_to_the_same_bytes_as_one(done, mini, tmp_path):
    """Train has three shards, so that one process gets two of them."""
    shutil.copytree(Workspace(done).checkpoint("run"), Workspace(tmp_path).checkpoint("run"))
    sets = ["--sets", "train", "--sets", "references", "--sets", "queries"]
    command = [*LAUNCH, "extract", "--name", "run", "--root", tmp_path, "--data", mini, *sets, "--workers", "0"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr[-3000:]
    made, wanted = shards(tmp_path), shards(done)
    assert sum(name.startswith("train/network/") for name in made) == 3
    assert made == {
        name: content for name, content in wanted.items() if not name.startswith(("final_queries", "images"))
    }
    assert not list(tmp_path.rglob("*.part"))


def test_two_processes_match_to_the_same_bytes_as_one(copy):
    wanted = Workspace(copy).matches(1, "run").read_bytes()
    for path in Workspace(copy).matches(1, "run").parent.glob("matching.csv*"):
        path.unlink()
    command = [*LAUNCH, "matching", "--name", "run", "--root", copy]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert Workspace(copy).matches(1, "run").read_bytes() == wanted
    assert ended.stdout.count("matching.csv") == 1 and not list(copy.rglob("matching.parts"))
