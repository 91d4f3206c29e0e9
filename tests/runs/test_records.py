"""Edited records end in one message that names the file and the place, whatever was put there."""

import json

import pytest

from isckit.runs.records import MOST_BYTES, Epoch, Freeze, Manifest, Receipt, Scores, Threshold, read_json, read_lines
from isckit.types import BadInput, MissingInput

RECEIPT = {
    "made_from": {"images": "0" * 64},
    "facts": {"complete": True, "images": 3, "replaced": {"R0": "empty"}, "cost": {"seconds": 1}, "own": [1]},
    "packages": {"torch": "2"},
}
EPOCH = {
    "epoch": 0,
    "seconds": 1.5,
    "consumed": {"train": {"augmented": True, "draws": 2, "images": 2, "ids": "0" * 64}},
    "loss": 1.0,
}
ODD = [None, True, 1, -1.5, "text", [], [1], {}, {"a": 1}, "x" * 10_000]


def edited(value, place=()):
    """Every value of a record in turn, with every odd value in its place, and without it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*place, key), {k: v for k, v in value.items() if k != key}
            for odd in ODD:
                yield (*place, key), value | {key: odd}
            for where, changed in edited(inner, (*place, key)):
                yield where, value | {key: changed}


@pytest.mark.parametrize("kind", [Receipt, Epoch])
def test_any_edit_is_read_or_refused_by_name(tmp_path, kind):
    path, refused = tmp_path / "r.json", 0
    for place, changed in edited(RECEIPT if kind is Receipt else EPOCH):
        path.write_text(json.dumps(changed))
        try:
            assert read_json(path, kind) == changed
        except BadInput as error:
            refused += 1
            assert str(path) in error.seen and place[0] in error.seen, (place, error.seen)
    assert refused > 20


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"1" * 5_000,
        b'{"threshold": ' + b"9" * 5_000 + b"}",
        b'{"threshold": NaN}',
        b'{"threshold": Infinity}',
        b'{"threshold": "0.5"}',
        b"[]",
        b"null",
    ],
)
@pytest.mark.parametrize("kind", [Threshold, Receipt, Freeze, Manifest, Scores])
def test_files_that_are_no_records_are_refused(tmp_path, text, kind):
    (tmp_path / "r.json").write_bytes(text)
    with pytest.raises(BadInput, match=r"r\.json is no record"):
        read_json(tmp_path / "r.json", kind)


def test_a_record_too_large_is_not_read(tmp_path):
    with (tmp_path / "r.json").open("wb") as handle:
        handle.truncate(MOST_BYTES + 1)
    with pytest.raises(BadInput, match="more than"):
        read_json(tmp_path / "r.json")


def test_lines_are_refused_by_their_number(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps(EPOCH) + "\n" + json.dumps(EPOCH | {"epoch": "1"}) + "\n")
    with pytest.raises(BadInput, match="line 2 is none"):
        read_lines(path, Epoch, remedy="train again")
    with pytest.raises(MissingInput, match="train again"):
        read_lines(tmp_path / "no.jsonl", Epoch, remedy="train again")
