"""Boxes are read strictly, the surest overlay is chosen, and exactly its pixels are kept."""

import itertools
import pickle

import numpy as np
import pytest

from isckit.config import Substitution
from isckit.types import BadInput, MissingInput
from isckit.views.overlays import (
    COLUMNS,
    Box,
    boxes_digest,
    open_overlays,
    pasted,
    read_boxes,
    substituted,
    surest,
    write_boxes,
)

HEADER = ",".join(COLUMNS)


def written(folder, *lines, header=HEADER):
    path = folder / "boxes.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def box(confidence=0.95, label="overlay", corners=(0.1, 0.2, 0.5, 0.6)):
    return Box(*corners, confidence, label)


def test_boxes_are_read_by_image_in_the_order_of_the_file(tmp_path):
    path = written(tmp_path, "Q2,0,0,1,1,0.5,emoji", "Q1,0.1,0.2,0.5,0.6,0.95,overlay", "Q2,0.5,0,1,0.25,1,overlay")
    assert read_boxes(path) == {
        "Q2": (Box(0, 0, 1, 1, 0.5, "emoji"), Box(0.5, 0, 1, 0.25, 1, "overlay")),
        "Q1": (box(),),
    }


def test_columns_are_told_by_their_names(tmp_path):
    path = written(tmp_path, "overlay,0.95,0.6,0.5,0.2,0.1,Q1", header=",".join(reversed(COLUMNS)))
    assert read_boxes(path) == {"Q1": (box(),)}


@pytest.mark.parametrize(
    "header", ["image_id,x0,y0,x1,y1,confidence", HEADER + ",score", "", HEADER.replace("x0", "X")]
)
def test_other_columns_are_refused(tmp_path, header):
    with pytest.raises(BadInput, match="columns"):
        read_boxes(written(tmp_path, "Q1,0,0,1,1,1,overlay", header=header))


@pytest.mark.parametrize(
    ("line", "saying"),
    [
        ("Q1,0,0,1.01,1,1,overlay", "x1 is 1.01"),
        ("Q1,-0.1,0,1,1,1,overlay", "x0 is -0.1"),
        ("Q1,0,nan,1,1,1,overlay", "y0 is nan"),
        ("Q1,0,0,1,inf,1,overlay", "y1 is inf"),
        ("Q1,0,0,1,1,90,overlay", "confidence is 90"),
        ("Q1,0,0,wide,1,1,overlay", "x1 is 'wide'"),
        ("Q1,0,0,1,1,overlay", "confidence is 'overlay'"),
        ("Q1,0,0,1,1,1,overlay,more", "more than 7 cells"),
        ("Q1,0.5,0,0.5,1,1,overlay", r"corners \(0.5, 0\) and \(0.5, 1\)"),
        ("Q1,0,0.6,1,0.5,1,overlay", r"corners \(0, 0.6\) and \(1, 0.5\)"),
        ("Q1,0,0,1,1,1,Overlay", "label 'Overlay'"),
        (",0,0,1,1,1,overlay", "no image_id"),
    ],
)
def test_faulty_lines_are_refused_by_number(tmp_path, line, saying):
    with pytest.raises(BadInput, match=f"1 faulty lines: line 3: {saying}"):
        read_boxes(written(tmp_path, "Q0,0,0,1,1,1,overlay", line))


def test_of_many_faulty_lines_the_first_and_their_number_are_shown(tmp_path):
    with pytest.raises(BadInput, match=r"9 faulty lines: line 2: .*line 6: label 'x'; and 4 more"):
        read_boxes(written(tmp_path, *["Q1,0,0,1,1,1,x"] * 9))


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path):
    for reader in (read_boxes, boxes_digest):
        with pytest.raises(MissingInput, match="no file"):
            reader(tmp_path / "boxes.csv")
    (tmp_path / "boxes.csv").write_bytes(b"\xff\xfe\x00image")
    with pytest.raises(BadInput, match="UTF-8"):
        read_boxes(tmp_path / "boxes.csv")


def test_the_surest_overlay_above_the_threshold_is_chosen_in_any_order():
    boxes = [box(0.91), box(0.97), box(0.99, "emoji"), box(0.97, corners=(0, 0, 1, 0.9)), box(0.2)]
    for order in itertools.permutations(boxes):
        assert surest(order, 0.9) == boxes[3], "the surest is not the emoji, and of two the larger"


def test_the_threshold_itself_is_not_enough():
    assert surest([box(0.9), box(1.0, "emoji")], 0.9) is None
    assert surest([], 0.0) is None
    assert surest([box(0.9)], 0.89) == box(0.9)


def test_the_pixels_of_the_box_are_kept_as_they_are():
    image = np.random.default_rng(0).integers(256, size=(40, 60, 3), dtype=np.uint8)
    got = substituted(image, box(corners=(0.25, 0.1, 0.5, 0.6)))
    assert np.array_equal(got, image[4:24, 15:30]) and got.flags.c_contiguous
    assert np.array_equal(substituted(image, box(corners=(0, 0, 1, 1))), image)


@pytest.mark.parametrize("corners", [(0.999, 0.999, 1, 1), (0, 0, 1e-9, 1e-9), (0.5, 0.5, 0.5001, 0.5001)])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (37, 53)])
def test_the_smallest_box_keeps_one_pixel(size, corners):
    image = np.arange(size[0] * size[1] * 3).reshape(*size, 3)
    got = substituted(image, box(corners=corners))
    assert got.shape == (1, 1, 3) and got.tolist()[0][0] in image.reshape(-1, 3).tolist()


def test_only_images_with_a_sure_overlay_change(tmp_path):
    path = written(tmp_path, "Q1,0.5,0,1,1,0.95,overlay", "Q2,0.5,0,1,1,0.8,overlay", "Q3,0.5,0,1,1,1,emoji")
    overlays = pickle.loads(pickle.dumps(open_overlays(Substitution(boxes=str(path), confidence=0.9))))
    image = np.random.default_rng(0).integers(256, size=(10, 8, 3), dtype=np.uint8)
    assert np.array_equal(overlays("Q1", image), image[:, 4:])
    assert all(overlays(name, image) is image for name in ("Q2", "Q3", "Q4"))


def test_the_digest_tells_files_apart(tmp_path):
    one = boxes_digest(written(tmp_path, "Q1,0.5,0,1,1,0.95,overlay"))
    assert one != boxes_digest(written(tmp_path, "Q1,0.5,0,1,1,0.96,overlay"))


def test_imgfps_filter_takes_the_surest_box_of_a_likely_shape_and_any_label():
    whole = box(0.99, corners=(0, 0, 1, 0.86))
    flat, tall = box(0.98, corners=(0, 0, 0.9, 0.2)), box(0.97, corners=(0, 0, 0.2, 0.9))
    emoji, unsure = box(0.7, "emoji"), box(0.6)
    for order in itertools.permutations([whole, flat, tall, emoji, unsure]):
        assert pasted(order) == emoji
        assert pasted(order, largest=0.87) == whole
        assert pasted(order, aspect=4.6) == flat
    assert pasted([whole, flat, tall]) is None and pasted([]) is None


def test_imgfps_filter_keeps_what_is_just_allowed():
    assert pasted([box(0.5)]) is None and pasted([box(0.5)], confidence=0.49) == box(0.5)
    for corners in ((0, 0, 1, 0.85), (0, 0, 1, 0.25), (0, 0, 0.25, 1)):
        assert pasted([box(corners=corners)]) is not None
    for corners in ((0, 0, 1, 0.8501), (0, 0, 1, 0.2499), (0, 0, 0.2499, 1)):
        assert pasted([box(corners=corners)]) is None


def test_of_equally_sure_boxes_imgfps_filter_takes_the_larger():
    small = box(corners=(0, 0, 0.3, 0.3))
    assert pasted([small, box()]) == pasted([box(), small]) == box()


def test_boxes_are_written_and_read_back_unchanged(tmp_path):
    boxes = {
        "Q2": (box(1 / 3), box(0.1, "emoji")),
        "a, b": (box(corners=(0, 0.1, 1 / 7, 1)),),
        "Q1": (),
        "Q0": (box(),),
    }
    path = write_boxes(tmp_path / "boxes.csv", boxes)
    assert read_boxes(path) == {name: found for name, found in boxes.items() if found}
    assert [line.split(",")[0] for line in path.read_text().splitlines()[:2]] == ["image_id", "Q0"]
    assert path.read_bytes() == write_boxes(tmp_path / "again.csv", dict(reversed(boxes.items()))).read_bytes()


def test_no_boxes_make_a_file_too(tmp_path):
    assert read_boxes(write_boxes(tmp_path / "boxes.csv", {})) == {}
