"""The table of what was found in images, and the views it gives them."""

import numpy as np
import pytest

from isckit import config
from isckit.types import BadInput, MissingInput
from isckit.views.overlays import Box
from isckit.views.table import COLUMNS, ImageFinding, read_table, table_of, wanted, write_table

OVERLAY = Box(0.25, 0.5, 0.75, 1.0, 0.95, "overlay")
FAINT = Box(0.0, 0.0, 0.5, 0.5, 0.2, "overlay")
EMOJI = Box(0.1, 0.1, 0.2, 0.2, 0.99, "emoji")
PROPOSALS = np.array([[0.0, 0.0, 0.5, 0.5], [0.25, 0.5, 0.25, 0.25]])
IDS = np.array(["a", "bb", "c"])


@pytest.fixture
def table():
    return table_of(
        IDS,
        [
            ImageFinding((30, 40), PROPOSALS, [EMOJI, OVERLAY, FAINT], face=True),
            ImageFinding((8, 9), np.empty((0, 4))),
            ImageFinding((10, 20), PROPOSALS[:1], [FAINT]),
        ],
    )


def test_every_image_gets_back_what_was_found_in_it(table):
    assert table.sizes.tolist() == [[30, 40], [8, 9], [10, 20]] and table.faces.tolist() == [True, False, False]
    assert [table.boxes_of(k) for k in range(3)] == [(EMOJI, OVERLAY, FAINT), (), (FAINT,)]
    assert [table.proposals_of(k).tolist() for k in range(3)] == [PROPOSALS.tolist(), [], PROPOSALS[:1].tolist()]
    assert [table.row(name) for name in IDS] == [0, 1, 2]
    with pytest.raises(BadInput, match="image b"):
        table.row("b")


def test_shards_are_read_as_one_table(table, tmp_path):
    rows = [
        ImageFinding((30, 40), PROPOSALS, [EMOJI, OVERLAY, FAINT], face=True),
        ImageFinding((8, 9), np.empty((0, 4))),
    ]
    write_table(tmp_path / "shard-00000.npz", table_of(IDS[:2], rows))
    write_table(tmp_path / "shard-00001.npz", table_of(IDS[2:], [ImageFinding((10, 20), PROPOSALS[:1], [FAINT])]))
    read = read_table(tmp_path)
    for name in COLUMNS:
        assert np.array_equal(getattr(read, name), getattr(table, name)), name
    assert read.ids.dtype.kind == "U" and read.boxes_of(0) == table.boxes_of(0)


def test_missing_and_damaged_shards_are_refused(table, tmp_path):
    with pytest.raises(MissingInput):
        read_table(tmp_path)
    write_table(tmp_path / "shard-00000.npz", table)
    whole = (tmp_path / "shard-00000.npz").read_bytes()
    (tmp_path / "shard-00000.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="not a table"):
        read_table(tmp_path)


def recipe(**settings):
    return config.Recipe(name="r", members=(config.Gist(),), **settings)


def test_found_views_come_behind_the_fixed_ones_and_have_names_of_their_own(table):
    views = wanted(("proposals", "mirror", "overlays"), recipe(proposals=config.Proposals(most=2)), substitution=None)
    assert [view.name for view in views.fixed] == ["whole", "mirror"]
    assert views.names[2:] == ("proposal_00", "proposal_01", *(f"overlay_0{k}" for k in range(5)))
    first = views.found(table, 0)
    assert [view.name for view in first] == ["proposal_00", "proposal_01", "overlay_00", "overlay_01"]
    assert first[1].box == (0.25, 0.5, 0.25, 0.25)
    assert first[2].box == (0.5, 0.25, 0.5, 0.5)  # top, left, height, width of the surest overlay; the emoji is none
    assert views.found(table, 1) == ()


def test_overlays_are_those_above_the_confidence_and_no_more_than_the_cap(table):
    for settings, count in ((config.Overlays(confidence=0.2), 1), (config.Overlays(most=1), 1)):
        views = wanted(("overlays",), recipe(overlays=settings), substitution=None)
        assert [view.name for view in views.found(table, 0)] == ["overlay_00"] * count


def test_an_image_whose_own_overlay_takes_its_place_has_no_overlays_on_it(table):
    substitution = config.Substitution(confidence=0.9)
    assert table.substitute(substitution).kept == {"a": OVERLAY}
    views = wanted(("overlays",), recipe(), substitution=substitution)
    assert views.found(table, 0) == () and len(views.found(table, 2)) == 1
    elsewhere = wanted(("overlays",), recipe(), substitution=config.Substitution(boxes="file.csv"))
    assert len(elsewhere.found(table, 0)) == 2
