"""Batched pipelines: the table, and its application to a batch as a whole."""

import numpy as np
import pytest
import torch

from isckit.augment import batched
from isckit.augment.batched import BATCHED, BatchedPipeline, find_batched
from isckit.augment.pipelines import PIPELINES, view_rng
from isckit.augment.steps import Pipeline, step
from isckit.types import BadInput

SIZE = 40
EVERYTHING = BatchedPipeline((
    step("resized_crop", 0.7), step("hflip", 0.5), step("vflip", 0.5), step("colour_jitter", 0.8),
    step("grayscale", 0.3), step("blur", 0.5), step("pixelate", 0.5), step("noise", 0.5), step("erase", 0.5),
))  # fmt: skip
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]


@pytest.fixture
def batch(photo):
    def make(count):
        return torch.from_numpy(np.stack([photo(SIZE, SIZE, k) for k in range(count)])).permute(0, 3, 1, 2)

    return make


def table(pipeline, count, seed=0):
    return torch.from_numpy(np.stack([pipeline.draw(view_rng(seed, 0, k, 0), SIZE) for k in range(count)]))


def far(got, want):
    """Largest difference, grey levels."""
    return int((got.cpu().int() - want.cpu().int()).abs().max())


def test_the_named_pipelines_are_parts_of_the_loaders():
    assert [s.op for s in BATCHED["sscd.device"].steps] == ["hflip", "colour_jitter", "grayscale", "blur"]
    assert [s.probability for s in BATCHED["sscd.device"].steps] == [0.5, 0.8, 0.2, 0.5]
    jitter, blur = (BATCHED["sscd.device"].steps[k].ranges for k in (1, 3))
    assert jitter == {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}
    assert [round(share * 224, 6) for share in blur["sigma"]] == [1, 5]
    assert [s.op for s in BATCHED["jitter.device"].steps] == ["colour_jitter"]
    mild = {s.op for s in BATCHED["mild.device"].steps}
    assert mild == {"colour_jitter", "grayscale", "blur", "pixelate", "noise"} <= PIPELINES["mild"].ops()


@pytest.mark.parametrize(("whole", "family"), [("mild", "mild"), ("sscd.advanced", "sscd")])
def test_loader_and_device_share_the_edits_between_them(whole, family):
    device = {s.op for s in BATCHED[f"{family}.device"].steps}
    assert PIPELINES[f"{family}.rest"].ops() | device == PIPELINES[whole].ops()
    assert not PIPELINES[f"{family}.rest"].ops() & device


def test_an_unknown_name_names_the_nearest():
    assert find_batched("mild.device") is BATCHED["mild.device"]
    with pytest.raises(BadInput, match=r"did you mean sscd\.device"):
        find_batched("sscd.devise")


def test_an_op_without_a_batched_form_is_refused():
    with pytest.raises(AssertionError, match="jpeg"):
        BatchedPipeline((step("jpeg"),))


def test_a_row_is_a_function_of_the_generator_alone_and_has_the_announced_length():
    rows = [EVERYTHING.draw(view_rng(1, 2, 3, 4), SIZE) for _ in range(2)]
    np.testing.assert_array_equal(*rows)
    assert rows[0].shape == (EVERYTHING.width,) and rows[0].dtype == np.float32
    assert EVERYTHING.width == 9 + 4 + 0 + 0 + 5 + 0 + 1 + 2 + 2 + 6
    assert (rows[0] != EVERYTHING.draw(view_rng(1, 2, 4, 4), SIZE)).any()


def test_steps_are_done_as_often_as_they_say():
    pipeline = BatchedPipeline((step("hflip", 0.5), step("grayscale", 0.1), step("blur", 1.0)))
    rows = table(pipeline, 2000)
    np.testing.assert_allclose(rows[:, :3].mean(0), (0.5, 0.1, 1.0), atol=0.03)


def test_a_row_of_zeros_changes_nothing_and_the_input_is_left_alone(batch):
    pixels = batch(6)
    before, rows = pixels.clone(), table(EVERYTHING, 6)
    rows[::2] = 0
    out = EVERYTHING.apply(pixels, rows)
    assert torch.equal(out[::2], pixels[::2]) and torch.equal(pixels, before)
    assert all(far(out[k], pixels[k]) > 3 for k in (1, 3, 5))
    assert out.dtype == torch.uint8 and out.is_contiguous()


@pytest.mark.parametrize("name", ["mild", "sscd.blur"])
def test_a_pipeline_edits_as_its_twin_on_single_images_does(name, batch, photo):
    """From the same generators. One level a step is rounding; 2 degrees, OpenCV's step of the hue, are up to 9."""
    pipeline = BATCHED[{"mild": "mild.device", "sscd.blur": "sscd.device"}[name]]
    steps = tuple(s for s in pipeline.steps if s.op != "noise")  # its grain is another
    together, single = BatchedPipeline(steps), Pipeline(steps)
    out = together.apply(batch(60), table(together, 60)).permute(0, 2, 3, 1).numpy().astype(int)
    want = np.stack([single(photo(SIZE, SIZE, k), view_rng(0, 0, k, 0), None, SIZE) for k in range(60)])
    gap = np.abs(out - want)
    moved = np.abs(want - batch(60).permute(0, 2, 3, 1).numpy().astype(int)).mean()
    assert moved > 15 and gap.mean() < 1.25 and gap.mean((1, 2, 3)).max() < 3, (moved, gap.mean())


@pytest.mark.parametrize("device", DEVICES)
def test_an_image_does_not_depend_on_its_batch_nor_on_the_device(device, batch):
    """To one grey level: sums over another number of images may round otherwise, and steps carry it on."""
    for one in EVERYTHING.steps:
        pipeline = BatchedPipeline((step(one.op, 1.0, **one.ranges),))
        pixels, rows = batch(9), table(pipeline, 9)
        alone = torch.cat([pipeline.apply(pixels[k : k + 1], rows[k : k + 1]) for k in range(9)])
        together = pipeline.apply(pixels.to(device), rows.to(device))
        order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
        assert far(together, alone) <= 1, one.op
        assert far(pipeline.apply(pixels[order].to(device), rows[order]), alone[order]) <= 1, one.op


def test_a_batch_larger_than_the_room_is_edited_in_parts(batch, monkeypatch):
    pixels, rows = batch(7), table(EVERYTHING, 7)
    whole = EVERYTHING.apply(pixels, rows)
    monkeypatch.setitem(batched._ROOM, "cpu", 3 * pixels[0].numel())
    parts = EVERYTHING.apply(pixels, rows)
    gap = (parts.int() - whole.int()).abs()
    assert gap.float().mean() < 0.01


def test_no_edit_waits_for_the_device_or_leaves_it(batch):
    """Tensors of the meta device have no values: to read one, or to mix it with the host's, raises."""
    rows = table(EVERYTHING, 64)
    assert (rows[:, [0, 5, 6, 7, 13, 14, 16, 19, 22]].sum(0) > 0).all()
    out = EVERYTHING.apply(torch.empty(64, 3, SIZE, SIZE, dtype=torch.uint8, device="meta"), rows)
    assert out.device.type == "meta" and out.shape == (64, 3, SIZE, SIZE)


def test_empty_batches_and_strided_ones_pass(batch):
    assert EVERYTHING.apply(batch(1)[:0], torch.zeros(0, EVERYTHING.width)).shape == (0, 3, SIZE, SIZE)
    pixels, rows = batch(4), table(EVERYTHING, 4)
    assert torch.equal(EVERYTHING.apply(pixels.contiguous(), rows), EVERYTHING.apply(pixels, rows))
