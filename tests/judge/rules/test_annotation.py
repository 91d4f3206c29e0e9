import gzip
import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spoiled import case_of, caught_by

from isckit.judge.rules import annotation
from isckit.judge.rules.annotation import labels_in, no_annotation, package_files

IDS = [f"Q5{number:04}" for number in range(40)]


def written(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("phase", [1, 2])
def test_a_run_and_the_kits_own_source_pass(done, phase):
    finding = no_annotation(case_of(done, phase=phase))
    assert (finding.status, finding.level) == ("passed", "declared"), finding
    assert int(finding.examined.split()[0]) > 150 and "not seen" in finding.examined


@pytest.mark.parametrize(
    "line",
    [
        "Q50001,R000123",
        "Q50001\tTrue",
        "Q50001 R000123",
        "Q50001;0.75",
        "Q50001 1",
        "Q50001,",
        "R000123,Q50001",
        "true,Q50001",
        '{"Q50001": 1}',
        "labels = {'Q50001': match}",
        '{"query": "Q50001", "reference": "R000123"}',
        '{"reference": "R000123", "query": "Q50001"}',
        '("Q50001", None)',
        "Q50001.jpg,R000123.jpg",
        'TABLE = "a\\nQ50001,R000123"',
    ],
)
@pytest.mark.parametrize("name", ["labels.txt", "table.py", "log.jsonl", "noname"])
def test_an_id_with_a_label_on_its_line_is_found(tmp_path, line, name):
    labels = labels_in(written(tmp_path, name, f"first\n\n{line}\n"))
    assert labels is not None and labels.ids == {"Q50001"} and labels.line == 3 and "Q50001" in labels.excerpt


@pytest.mark.parametrize(
    "text",
    [
        "Q50000 to Q99999 are the queries of phase 2.",
        '"""Q50000..Q99999, 50000 ids in all."""',
        r'_ID = re.compile("Q[5-9]\d{4}")',
        "see Q50001.jpg and Q50002.jpg",
        'assert ids[0] == ("Q00000" if phase == 1 else "Q50000")',
        "[\n    'Q50001',\n    'Q50002',\n]",
        "Q50001\nQ50002\n",
        "Q00001,R000123",
        "Q500012,R000123",
        "SEQ50001,R000123",
        '{"consumed": {"query": {"ids": "ab12", "images": 2, "listed": ["Q50001", "Q50002"]}}}',
    ],
)
@pytest.mark.parametrize("name", ["module.py", "notes.txt", "notes.md"])
def test_prose_ranges_patterns_and_bare_lists_are_no_labels(tmp_path, text, name):
    assert labels_in(written(tmp_path, name, text)) is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ids.csv", 'query_id\nQ50001\n"Q50002"\n'),
        ("ids.tsv", "Q50001\r\nQ50002\r\n"),
        ("ids.json", '["Q50001", "Q50002"]'),
        ("ids.json", '[\n  "Q50001",\n  "Q50002"\n]\n'),
        ("ids.yaml", "- Q50001\n- 'Q50002'\n"),
    ],
)
def test_a_bare_list_in_a_data_file_is_fine(tmp_path, name, content):
    assert labels_in(written(tmp_path, name, content)) is None


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("labels.csv", "query_id,kind\nQ50001,cat\n", 2),
        ("labels.csv", "Q50001,Q50002\n", 1),
        ("labels.csv", "Q50001,\n", 1),
        ("labels.tsv", "Q50001\tcat\n", 1),
        ("labels.json", '{"positives": ["Q50001"]}', 1),
        ("labels.json", '{\n "positives": [\n  "Q50001"\n ]\n}', 3),
        ("labels.json", '[["Q50001", "cat"]]', 1),
        ("labels.yml", "found:\n- Q50001\n", 2),
    ],
)
def test_in_a_data_file_anything_beside_an_id_is_a_label(tmp_path, name, content, line):
    labels = labels_in(written(tmp_path, name, content))
    assert labels is not None and labels.line == line and "Q50001" in labels.ids


def npy(folder, ids):
    np.save(folder / "x.npy", np.array(ids))
    return (folder / "x.npy").read_bytes()


def npz(folder, ids):
    np.savez_compressed(folder / "x.npz", ids=np.array(ids), label=np.ones(len(ids)))
    return (folder / "x.npz").read_bytes()


def zipped(folder, ids):
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.csv", "".join(f"{name},R000001\n" for name in ids))
    return (folder / "x.zip").read_bytes()


BINARY = {
    "pickle": ("x.pkl", lambda folder, ids: pickle.dumps(dict.fromkeys(ids, 1))),
    "text pickle": ("x.pkl", lambda folder, ids: pickle.dumps(dict.fromkeys(ids, 1), protocol=0)),
    "npy": ("x.npy", npy),
    "npz": ("x.npz", npz),
    "bytes array": ("x.bin", lambda folder, ids: b"\0" + np.array(ids, "S6").tobytes()),
    "zip": ("x.zip", zipped),
    "gzip": ("x.csv.gz", lambda folder, ids: gzip.compress("\n".join(ids).encode())),
    "safetensors": (
        "x.safetensors",
        lambda folder, ids: b"\x80" + 7 * b"\0" + json.dumps({name: {"dtype": "F32"} for name in ids}).encode(),
    ),
    "16-bit text": ("x.csv", lambda folder, ids: "".join(f"{name},R000001\n" for name in ids).encode("utf-16")),
}


@pytest.mark.parametrize("kind", BINARY)
def test_a_binary_file_counts_from_three_ids_on(tmp_path, kind):
    name, make = BINARY[kind]
    path = written(tmp_path / "out", name, make(tmp_path, IDS[:3]))
    labels = labels_in(path)
    assert labels is not None and labels.ids == set(IDS[:3]) and labels.line == 0
    path.write_bytes(make(tmp_path, IDS[:2]))
    assert labels_in(path) is None


def test_pickles_are_not_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    labels_in(written(tmp_path, "x.pkl", pickle.dumps([Bomb(), *IDS])))
    assert not (tmp_path / "ran").exists()


@given(st.integers(1, 40), st.integers(0, 12))
def test_no_id_is_lost_between_two_chunks(chunk, before):
    class Trickle(io.BytesIO):
        def read(self, _=-1):
            return super().read(chunk)

    content = b"x" * before + "".join(IDS).encode("utf-32-le")
    assert annotation._ids_of_stream(Trickle(content)) == set(IDS)


def test_random_bytes_are_no_labels(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, 20_000_000, np.uint8).tobytes()
    assert labels_in(written(tmp_path, "weights.bin", noise)) is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.csv", "query_id,reference_id\nQ50001,R000007\n"),
        ("training/network/notes.json", '{"Q50001": true}'),
        ("labels.pkl", pickle.dumps(dict.fromkeys(IDS, "R000001"))),
    ],
)
@pytest.mark.parametrize("phase", [1, 2])
def test_labels_in_the_checkpoint_are_caught_by_this_rule_alone(copy, disc, name, content, phase):
    written(copy / "checkpoints/run", name, content)
    finding = no_annotation(case_of(copy, phase=phase))
    assert (finding.status, finding.level) == ("failed", "proven")
    assert name in finding.detail and ("Q50001" in finding.detail or "Q50000" in finding.detail)
    assert caught_by(case_of(copy, phase=phase, disc=disc)) == {"no_annotation"}


def test_one_label_in_the_source_fails_and_names_file_and_line(done, tmp_path):
    written(tmp_path, "src/fixes.py", '"""Q50000 to Q99999."""\nFIXES = {\n    "Q50001": "R000007",\n}\n')
    finding = no_annotation(case_of(done, project=tmp_path))
    assert finding.status == "failed" and "src/fixes.py, line 3" in finding.detail


@pytest.mark.parametrize("name", ["tests/test_form.py", "docs/how.md", "tests/rows.csv"])
def test_examples_in_tests_and_prose_may_be_few(done, tmp_path, name):
    def row(number):
        return f"{IDS[number]},R000007\n"

    written(tmp_path, name, "".join(map(row, range(annotation.EXAMPLES))))
    assert no_annotation(case_of(done, project=tmp_path)).status == "passed"
    written(tmp_path, "tests/more.py", row(annotation.EXAMPLES))
    finding = no_annotation(case_of(done, project=tmp_path))
    assert finding.status == "failed" and name in finding.detail and "tests/more.py" in finding.detail


def test_tools_data_results_and_links_are_no_part_of_a_package(tmp_path):
    outside = written(tmp_path, "outside/labels.csv", "Q50001,R000001\n")
    project = tmp_path / "project"
    kept = ["a.py", "src/kit/data/x.py", ".ci/run"]
    left = [".git/x", ".venv/x", "data/x", "cache/x", "submissions/x", "checkpoints/x", "src/__pycache__/x"]
    left += ["node_modules/x", ".mypy_cache/x", "src/kit.egg-info/x"]
    for name in kept + left:
        written(project, name, "text")
    (project / "link.csv").symlink_to(outside)
    (project / "folder").symlink_to(outside.parent)
    assert {path.relative_to(project).as_posix() for path in package_files(project)} == set(kept)


def test_an_archive_that_cannot_be_looked_into_leaves_the_rule_open(copy):
    written(copy / "checkpoints/run", "labels.zip", b"PK\x03\x04 and nothing more")
    finding = no_annotation(case_of(copy))
    assert finding.status == "unknown" and "labels.zip" in finding.detail
