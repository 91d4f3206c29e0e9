import hashlib
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from isckit.augment import pipelines
from isckit.augment.geometry import square
from isckit.augment.ops import NEEDS, OPS
from isckit.types import BadInput

ELSEWHERE = """
import random
import numpy as np
random.seed(99); np.random.seed(99)
before = random.getstate(), np.random.get_state()
from isckit.augment.ops import NEEDS, OPS
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
    for index in reversed(range(25)):
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
    assert len(lines) == len(OPS) + 25 * len(pipelines.PIPELINES)
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


def test_views_get_harder_from_eval_to_strong(photo):
    image = photo(128, 128)
    plain = square(image, 64).astype(float)

    def change(name):
        draws = [pipelines.view_rng(0, 0, k, 0) for k in range(60)]
        views = [pipelines.find(name)(image, rng, lambda: photo(99, 99, 5), 64) for rng in draws]
        return np.mean([np.abs(view - plain).mean() for view in views])

    assert change("eval") == 0 < change("weak") < change("strong")


def test_every_step_is_an_op_and_the_hard_views_hold_what_they_should():
    for pipeline in pipelines.PIPELINES.values():
        assert pipeline.ops() <= OPS.keys()
        assert pickle.loads(pickle.dumps(pipeline)) == pipeline
    strong = pipelines.find("strong").ops()
    assert strong >= {"overlay", "underlay", "emoji", "text", "meme", "screenshot", "perspective", "rotate"}
    assert strong > pipelines.find("intermediate").ops()
    assert [name for name in pipelines.PIPELINES if not pipelines.find(name).needs_other] == ["eval", "weak"]


def test_describe_gives_a_row_for_every_step():
    assert pipelines.describe("eval") == []
    assert pipelines.describe("weak")[0] == ("resized_crop", "1", "scale 0.5..1")
    rows = pipelines.describe("strong")
    assert {op.strip() for op, _, _ in rows} - {"either", "in any order"} == pipelines.find("strong").ops()
    assert ("  jpeg", "0.35", "quality 10..50") in rows
    assert all(isinstance(part, str) for row in rows for part in row)


def test_an_unknown_name_is_answered_with_the_nearest():
    for use in (pipelines.find, pipelines.describe):
        with pytest.raises(BadInput, match="did you mean strong"):
            use("stronk")


def test_a_contact_sheet_shows_the_image_and_its_views_in_a_ruled_grid(photo):
    image = photo(90, 70)
    sheet = pipelines.contact_sheet(
        image, "strong", rows=2, columns=3, size=40, seed=7, other=lambda: photo(50, 50, seed=2)
    )
    assert sheet.shape == (2 * 42 + 2, 3 * 42 + 2, 3)
    np.testing.assert_array_equal(sheet[2:42, 2:42], square(image, 40))
    view = pipelines.find("strong")(image, pipelines.view_rng(7, 0, 5, 0), lambda: photo(50, 50, seed=2), 40)
    np.testing.assert_array_equal(sheet[44:84, 86:126], view)
    for rule in (sheet[:2], sheet[42:44], sheet[84:], sheet[:, :2], sheet[:, 42:44], sheet[:, 126:]):
        assert (rule == 255).all()


def test_importing_the_ops_loads_neither_torch_nor_albumentations_nor_augly():
    code = "import isckit.augment.pipelines, sys; print({'torch', 'albumentations', 'augly'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
