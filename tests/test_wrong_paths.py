"""Every verb with every wrong path, name and number: exit code 2, one message, and nothing is changed or left."""

import hashlib
import logging

import pytest
from chain import SETTINGS

from isckit.cli.main import main

SUFFIXES = (".csv", ".h5", ".json", ".jsonl", ".safetensors", ".pth", ".png", ".jpg", ".md", ".ts", ".yaml", "")
LONG = "n" * 300


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """A folder of what stands where something else is wanted: noise and folders of every suffix, links to nothing."""
    root = tmp_path_factory.mktemp("bad")
    for suffix in SUFFIXES:
        (root / f"noise{suffix}").write_bytes(hashlib.sha512(suffix.encode()).digest() * 20)
        (root / f"empty{suffix}").write_bytes(b"")
        (root / f"folder{suffix}").mkdir()
    (root / "folder/x.txt").write_text("x")
    (root / "loop").symlink_to(root / "loop")
    (root / "dangling").symlink_to(root / "nowhere")
    return root


@pytest.fixture(scope="module")
def world(done, mini, tmp_path_factory):
    """Paths that are right."""
    return {
        "data": mini,
        "queries": mini / "images/queries",
        "references": mini / "images/references",
        "photo": min((mini / "images/train").iterdir()),
        "truth": mini / "list_files/public_ground_truth.csv",
        "root": done,
        "one": done / "submissions/phase1/run",
        "two": done / "submissions/phase2/run",
        "csv": done / "submissions/phase1/run/matching.csv",
        "h5": done / "submissions/phase1/run/descriptors.h5",
        "weights": done / "checkpoints/run/weights.safetensors",
        "new": tmp_path_factory.mktemp("new") / "made",
    }


def no_file(bad, suffix):
    """Paths where a file is to be read."""
    kinds = [f"missing{suffix}", f"noise/x{suffix}", f"folder{suffix}", f"noise{suffix}", f"empty{suffix}"]
    return [bad / kind for kind in (*kinds, "loop", "dangling", LONG + suffix)] + ["", "/dev/null", f"/proc/x{suffix}"]


def no_folder(bad, _):
    """Paths where a folder is to be read."""
    return [bad / kind for kind in ("missing", "noise", "noise/x", "loop", "dangling", LONG)] + ["/dev/null"]


def no_images(bad, _):
    """Paths where a folder of images is to be read."""
    return [*no_folder(bad, _), bad / "folder"]


def no_place(bad, suffix):
    """Paths where no file can be written."""
    return [bad / kind for kind in (f"noise/x{suffix}", f"folder{suffix}", LONG + suffix)] + [f"/proc/x/y{suffix}", ""]


def no_room(bad, _):
    """Paths where no folder can be written."""
    return [bad / "noise", bad / "noise/x", bad / LONG, "/proc/x"]


def no_name(_, suffix):
    """What is no name of a run."""
    return ["a/b", "../../x", "/abs", "", "a\nb", ".", "..", LONG, "a\tb", "~x", " x", "-"]


def values(*given):
    """Further values that are refused."""
    return lambda bad, suffix: list(given)


TRAIN = "train --name fresh --data {data} --recipe baseline.tiny --root {new} --workers 0"
RUN = "--name run --root {root}"
SCORE = "score {csv} --ground-truth {truth} --bootstrap 0"
FOREIGN = "check --foreign {h5} --data {data} --phase 1"
COMMANDS = values("a 'b", "x {nosuch}", "x {", "", "/nosuch {out}")
CASES = [
    ("doctor --data {data}", "--data", no_folder, ""),
    ("data synthetic --from {queries} --out {new} --workers 0", "--from", no_images, ""),
    ("data synthetic --from {queries} --out {new} --workers 0", "--out", no_room, ""),
    ("data sheet --data {data} --out {new}.png", "--data", no_images, ""),
    ("data sheet --data {data} --out {new}.png", "--out", no_place, ".png"),
    ("data pack --data {data} --out {new} --sets references", "--data", no_images, ""),
    ("data pack --data {data} --out {new} --sets references", "--out", no_room, ""),
    (TRAIN, "--data", no_images, ""),
    (TRAIN, "--recipe", no_file, ".yaml"),
    (TRAIN, "--recipe", values("nosuch"), ""),
    (TRAIN, "--checkpoint", no_file, ".safetensors"),
    (TRAIN, "--checkpoint", no_file, ".pth"),
    (TRAIN, "--root", no_room, ""),
    (TRAIN, "--name", no_name, ""),
    (TRAIN, "--witness", no_place, ".jsonl"),
    (f"extract {RUN} --data {{data}} --sets references --workers 0", "--data", no_images, ""),
    (f"extract {RUN} --data {{data}} --sets references --workers 0", "--name", no_name, ""),
    (f"extract {RUN} --data {{data}} --sets references --workers 0", "--root", no_folder, ""),
    (f"fit {RUN}", "--root", no_folder, ""),
    (f"fit {RUN}", "--name", no_name, ""),
    (f"infer {RUN} --queries {{queries}} --references {{references}} --out {{new}}", "--queries", no_images, ""),
    (f"infer {RUN} --queries {{queries}} --references {{references}} --out {{new}}", "--references", no_images, ""),
    (f"infer {RUN} --queries {{queries}} --references {{references}} --out {{new}}", "--out", no_room, ""),
    (f"infer {RUN} --queries {{queries}} --references {{references}} --out {{new}}", "--name", no_name, ""),
    (f"describe {{references}} {RUN} --out {{new}}.h5", 1, no_images, ""),
    (f"describe {{references}} {RUN} --out {{new}}.h5", "--out", no_place, ".h5"),
    (f"describe {{references}} {RUN} --out {{new}}.h5", "--name", no_name, ""),
    ("describe {references} --checkpoint {weights} --out {new}.h5", "--checkpoint", no_file, ".safetensors"),
    ("describe {references} --checkpoint {weights} --out {new}.h5", "--recipe", no_file, ".yaml"),
    (f"detect {{references}} {RUN} --out {{new}}.csv", 1, no_images, ""),
    (f"detect {{references}} {RUN} --out {{new}}.csv", "--out", no_place, ".csv"),
    (f"export {RUN} --format torchscript --out {{new}}.ts", "--out", no_place, ".ts"),
    (f"export {RUN} --format torchscript --out {{new}}.ts", "--name", no_name, ""),
    (f"descriptor {RUN}", "--name", no_name, ""),
    (f"descriptor {RUN}", "--root", no_folder, ""),
    (f"matching {RUN}", "--name", no_name, ""),
    (f"matching {RUN}", "--data", no_folder, ""),
    (f"freeze {RUN}", "--name", no_name, ""),
    (f"frozen {RUN}", "--recipe", no_file, ".yaml"),
    (f"frozen {RUN}", "--checkpoint", no_file, ".safetensors"),
    (f"manifest {RUN}", "--name", no_name, ""),
    (f"manifest {RUN}", "--data", no_images, ""),
    ("ledger add {one} --track matching", 2, no_images, ""),
    ("ledger add {one} --track matching", "--track", values("nosuch", ""), ""),
    ("ledger report 1 --root {root}", "--root", no_images, ""),
    ("ledger show --root {root}", "--root", no_folder, ""),
    ("check {one} --sample 0", 1, no_images, ""),
    ("check {one} --sample 0", "--data", no_images, ""),
    ("check {one} --sample 0", "--against", no_file, ".json"),
    ("check {one} --sample 0", "--project", no_folder, ""),
    ("check {one} --sample 0", "--pipeline", COMMANDS, ""),
    ("check {one} --sample 0", "--training", COMMANDS, ""),
    (FOREIGN, "--against", no_file, ".h5"),
    (FOREIGN, "--pipeline", COMMANDS, ""),
    (FOREIGN, "--data", no_images, ""),
    ("score {one} --data {data} --bootstrap 0", 1, no_images, ""),
    ("score {one} --data {data} --bootstrap 0", "--data", no_images, ""),
    (SCORE, 1, no_file, ".csv"),
    (SCORE, 1, no_file, ".h5"),
    (SCORE, "--ground-truth", no_file, ".csv"),
    (SCORE, "--listed", no_file, ".csv"),
    (SCORE, "--json", no_place, ".json"),
    (SCORE, "--plot", no_place, ".png"),
    (SCORE, "--plot", values("x.xyz", "plot"), ""),
    (SCORE, "--bootstrap", values("-1", "x", "1e9", 10**9), ""),
    (SCORE, "--k", values("0", "-1", 10**12), ""),
    (SCORE, "--protocol", values("nosuch", ""), ""),
    ("audit verify {one}", 2, no_images, ""),
    ("audit verify {one}", "--data", no_images, ""),
    ("audit diff {one} {two}", 2, no_images, ""),
    ("audit diff {one} {two}", 3, no_images, ""),
    ("audit replay {one} --data {data}", 2, no_images, ""),
    ("audit replay {one} --data {data}", "--data", no_images, ""),
    ("audit replay {one} --data {data} --full", "--keep", no_room, ""),
    ("breakdown {one} --data {data} --out {new}.md", 1, no_images, ""),
    ("breakdown {one} --data {data} --out {new}.md", "--data", no_images, ""),
    ("breakdown {one} --data {data} --out {new}.md", "--out", no_place, ".md"),
    ("plan --references 10", "--recipe", no_file, ".yaml"),
    ("plan --references 10", "--json", no_place, ".json"),
    ("baselines --data {data} --recipe pdq --root {new}", "--data", no_images, ""),
    ("baselines --data {data} --recipe pdq --root {new}", "--recipe", no_file, ".yaml"),
    ("baselines --data {data} --recipe pdq --root {new}", "--root", no_room, ""),
    ("baselines --data {data} --recipe pdq --root {new}", "--out", no_place, ".md"),
    ("ablate run --root {root} --data {data}", 1, no_name, ""),
    ("ablate run --root {root} --data {data}", "--data", no_images, ""),
    ("ablate run --root {root} --data {data}", "--out", no_place, ".md"),
    ("augment show lyakaap.strong --image {photo} --out {new}.png", "--image", no_file, ".jpg"),
    ("augment show lyakaap.strong --image {photo} --out {new}.png", "--other", no_file, ".jpg"),
    ("augment show lyakaap.strong --image {photo} --out {new}.png", "--out", no_place, ".png"),
    (
        "augment show lyakaap.strong --image {photo} --out {new}.png",
        2,
        values("nosuch", "s_square@x", "s_square@9"),
        "",
    ),
    ("recipes show lyakaap", 2, no_file, ".yaml"),
    ("recipes show lyakaap", "--set", values("a", "nosuch=1", "seed=x", "members=[", "", "a.b.c=1", "members=1"), ""),
    ("recipes show lyakaap", "--set", values("ensemble.dim=1e400", "ensemble.dim=-3", "seed=nan"), ""),
]


def state(*folders):
    """What lies in folders, byte by byte."""
    paths = [path for folder in folders for path in sorted(folder.rglob("*"))]
    return {path: path.read_bytes() if path.is_file() else path.is_dir() for path in paths}


@pytest.mark.parametrize(
    ("command", "slot", "wrong", "suffix"), CASES, ids=lambda part: getattr(part, "__name__", part)
)
def test_it_is_refused_with_one_message_and_nothing_changes(command, slot, wrong, suffix, world, bad, capsys):
    here = state(bad, world["root"], world["new"].parent)
    for value in wrong(bad, suffix):
        words = [word.format(**world) for word in command.split()]
        if command == TRAIN:
            words += [word for setting in SETTINGS for word in ("--set", setting)]
        if isinstance(slot, int):
            words[slot] = str(value)
        elif slot in words:
            words[words.index(slot) + 1] = str(value)
        else:
            words += [slot, str(value)]
        logging.getLogger().handlers.clear()
        code, told = main(words), capsys.readouterr().err
        assert code == 2, (words, code, told)
        assert told.count("what to do:") + told.count("Try 'isckit") == 1 and "Traceback" not in told, (words, told)
        assert state(bad, world["root"], world["new"].parent) == here, words
