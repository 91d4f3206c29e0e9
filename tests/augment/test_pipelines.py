import hashlib
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from isckit.augment import pipelines
from isckit.augment.geometry import square
from isckit.augment.steps import NEEDS, OPS
from isckit.types import BadInput

JOINING = {"overlay", "underlay", "overlay_by_height", "underlay_by_height", "onto", "cover", "occlude", "blend"}
"""Ops of pipelines that join two pictures."""

ELSEWHERE = """
import random
import numpy as np
random.seed(99); np.random.seed(99)
before = random.getstate(), np.random.get_state()
from isckit.augment.steps import NEEDS, OPS
from isckit.augment.pipelines import PIPELINES, view_rng
import hashlib

def show(name, index, out):
    print(name, index, hashlib.sha256(out.tobytes()).hexdigest())

image = np.random.default_rng(5).integers(0, 256, (70, 90, 3), dtype=np.uint8)
other = image[::-1, ::2].copy()
for name in reversed(list(OPS)):
    given = {"other": other, "size": 32}
    show(name, -1, OPS[name](image, view_rng(1, 2, 3, 0), **{k: given[k] for k in NEEDS[name]}))
    now = random.getstate(), np.random.get_state()
    assert now[0] == before[0] and all(np.array_equal(a, b) for a, b in zip(now[1], before[1])), name
for name in reversed(PIPELINES):
    for index in reversed(range(8)):
        show(name, index, PIPELINES[name](image, view_rng(1, 2, index, 0), lambda: other, 48))
"""


@pytest.mark.parametrize("size", [32, 97])
@pytest.mark.parametrize("shape", [(1, 1), (300, 5), (64, 90), (240, 200)])
@pytest.mark.parametrize("name", pipelines.PIPELINES)
def test_any_picture_becomes_a_square_view_of_the_size(photo, name, shape, size):
    for index in range(6):
        rng = pipelines.view_rng(3, 0, index, 1)
        out = pipelines.find(name)(photo(*shape), rng, lambda: photo(50, 70, seed=9), size)
        assert out.shape == (size, size, 3) and out.dtype == np.uint8 and out.flags.c_contiguous


def test_a_fresh_process_makes_the_same_bytes_in_another_order_and_keeps_its_global_generators():
    env = dict(os.environ) | {"PYTHONHASHSEED": "1234", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    image = np.random.default_rng(5).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    given = {"other": image[::-1, ::2].copy(), "size": 32}
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == len(OPS) + 8 * len(pipelines.PIPELINES)
    for name, index, digest in lines:
        if name in OPS:
            out = OPS[name](image, pipelines.view_rng(1, 2, 3, 0), **{key: given[key] for key in NEEDS[name]})
        else:
            rng = pipelines.view_rng(1, 2, int(index), 0)
            out = pipelines.PIPELINES[name](image, rng, lambda: given["other"], 48)
        assert hashlib.sha256(out.tobytes()).hexdigest() == digest, (name, index)


def test_each_of_seed_epoch_image_and_view_changes_the_stream():
    keys = [(1, 2, 3, 4), (2, 2, 3, 4), (1, 3, 3, 4), (1, 2, 4, 4), (1, 2, 3, 5), (2, 1, 3, 4), (1, 2, 4, 3)]
    draws = {key: pipelines.view_rng(*key).random() for key in keys}
    assert len(set(draws.values())) == len(keys)
    assert draws[1, 2, 3, 4] == pipelines.view_rng(1, 2, 3, 4).random()


def test_eval_is_the_plain_resize_and_draws_nothing(photo):
    image, rng = photo(333, 200), pipelines.view_rng(0, 0, 0, 0)
    np.testing.assert_array_equal(pipelines.find("eval")(image, rng, None, 40), square(image, 40))
    assert rng.random() == pipelines.view_rng(0, 0, 0, 0).random()


def test_the_names():
    assert list(pipelines.PIPELINES) == [
        "eval", "weak", "mild", "mild.rest", "imgfp",
        "lyakaap.moderate", "lyakaap.weak", "lyakaap.intermediate", "lyakaap.strong",
        "s_square", "s_square.early", "vision_force.basic", "vision_force.basic_all",
        "sscd.simclr", "sscd.blur", "sscd.advanced", "sscd.rest",
        "separate.basic", "separate.first", "separate.emoji", "separate.final", "separate.three", "separate.distractor",
        "separate.pixels", "separate.marked", "separate.colours", "separate.sizes", "separate.retrieved",
        "separate.retrieved_later", "separate.mini",
        *(f"d2lv.{name}{all_of_them}" for name in ("basic", "blur", "colour", "dark", "opaque", "occlude")
          for all_of_them in ("", "_all")),
        "byol.first", "byol.second",
    ]  # fmt: skip


@pytest.mark.parametrize("name", [*pipelines.PIPELINES, "s_square@0.75"])
def test_every_step_is_an_op_and_a_pipeline_survives_pickling(name):
    pipeline = pipelines.find(name)
    assert pipeline.ops() <= OPS.keys()
    assert pickle.loads(pickle.dumps(pipeline)) == pipeline
    joins = pipeline.ops() & JOINING
    assert pipeline.needs_other == bool(joins)
    alone = ("eval", "weak", "lyakaap.moderate", "separate.basic")
    assert bool(joins) == (name not in alone and not name.startswith(("sscd", "byol")))


def test_describe_gives_a_row_for_every_step():
    assert pipelines.describe("eval") == []
    assert pipelines.describe("weak")[0] == ("resized_crop", "1", "scale 0.5..1")
    for name in pipelines.PIPELINES:
        rows = pipelines.describe(name)
        assert {op.strip() for op, _, _ in rows} >= pipelines.find(name).ops()
        assert all(isinstance(part, str) for row in rows for part in row)
    assert ("  jpeg", "0.35", "quality one of 10 20 30 50") in pipelines.describe("lyakaap.strong")
    assert ("page:", "0.025", "unless perspective, overlay") in pipelines.describe("s_square@0.5")


@pytest.mark.parametrize(("name", "near"), [("lyakaap.stronk", "lyakaap.strong"), ("s_sqare@0.5", "s_square")])
def test_an_unknown_name_is_answered_with_the_nearest(name, near):
    for use in (pipelines.find, pipelines.describe):
        with pytest.raises(BadInput, match=f"did you mean {near}"):
            use(name)


def test_an_intensity_is_for_sets_that_have_one_and_lies_in_0_to_1():
    assert pipelines.find("s_square@1") == pipelines.find("s_square@1.0") == pipelines.find("s_square")
    assert pipelines.find("s_square@0.75") != pipelines.find("s_square")
    for name in ("s_square@0", "s_square@1.01", "s_square@-1", "s_square@", "s_square@nan", "s_square@much"):
        with pytest.raises(BadInput, match="above 0, at most 1"):
            pipelines.find(name)
    for name in ("lyakaap.strong@0.5", "s_square.early@0.5", "eval@1"):
        with pytest.raises(BadInput, match="has no intensity"):
            pipelines.find(name)


def test_a_contact_sheet_shows_the_image_and_its_views_in_a_ruled_grid(photo):
    image = photo(90, 70)
    sheet = pipelines.contact_sheet(
        image, "lyakaap.strong", rows=2, columns=3, size=40, seed=7, other=lambda: photo(50, 50, seed=2)
    )
    assert sheet.shape == (2 * 42 + 2, 3 * 42 + 2, 3)
    np.testing.assert_array_equal(sheet[2:42, 2:42], square(image, 40))
    view = pipelines.find("lyakaap.strong")(image, pipelines.view_rng(7, 0, 5, 0), lambda: photo(50, 50, seed=2), 40)
    np.testing.assert_array_equal(sheet[44:84, 86:126], view)
    for rule in (sheet[:2], sheet[42:44], sheet[84:], sheet[:, :2], sheet[:, 42:44], sheet[:, 126:]):
        assert (rule == 255).all()


def test_importing_the_ops_loads_neither_torch_nor_albumentations_nor_augly():
    code = "import isckit.augment.pipelines, sys; print({'torch', 'albumentations', 'augly'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
