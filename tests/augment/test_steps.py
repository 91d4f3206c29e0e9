import numpy as np
import pytest

from isckit.augment.geometry import square
from isckit.augment.steps import AnyOrder, OneOf, Pipeline, Step, run

RED, DARK = Step("shuffle_channels"), Step("brightness", 1.0, {"factor": (0.5, 0.5)})


def test_a_step_happens_as_often_as_its_probability(photo, generator):
    image = photo(4, 6)
    step = Step("hflip", 0.3)
    done = [not np.array_equal(step.apply(image, generator(k), None, 8), image) for k in range(2000)]
    assert abs(np.mean(done) - 0.3) < 0.035
    assert not any((Step("hflip", 0.0).apply(image, generator(k), None, 8) != image).any() for k in range(20))


def test_one_of_takes_one_branch_by_weight(generator):
    image = np.full((2, 2, 3), 200, np.uint8)
    half, tenth = (Step("brightness", 1.0, {"factor": (f, f)}) for f in (0.5, 0.1))
    node = OneOf(((0.2, (half,)), (0.5, (tenth,)), (0.3, ())))
    levels = [int(node.apply(image, generator(k), None, 8)[0, 0, 0]) for k in range(2000)]
    shares = [levels.count(level) / 2000 for level in (100, 20, 200)]
    np.testing.assert_allclose(shares, (0.2, 0.5, 0.3), atol=0.04)
    assert sum(shares) == 1


def test_any_order_runs_all_in_every_order(generator):
    # x -> x / 2, then keep the upper bits; the other order gives another number.
    image = np.full((1, 1, 3), 190, np.uint8)
    node = AnyOrder((DARK, Step("posterize", 1.0, {"bits": (1, 1)})))
    seen = {int(node.apply(image, generator(k), None, 8)[0, 0, 0]) for k in range(40)}
    assert seen == {0, 64}


def test_the_canvas_is_bounded_between_steps(photo, generator):
    out = run([Step("pad", 1.0, {"share": (0.5, 0.5)})] * 8, photo(20, 20), generator(), None, 16)
    assert out.shape[0] * out.shape[1] <= 32 * 32


def test_a_pipeline_fetches_the_other_picture_only_when_a_step_wants_it(photo, generator):
    fetched = []

    def other():
        fetched.append(1)
        return photo(30, 20, seed=2)

    pipeline = Pipeline((Step("blend", 0.25),))
    assert pipeline.needs_other and not Pipeline((RED,)).needs_other
    for k in range(400):
        assert pipeline(photo(16, 16), generator(k), other, 12).shape == (12, 12, 3)
    assert 70 < len(fetched) < 130
    with pytest.raises(AssertionError, match="other"):
        run([Step("blend")], photo(16, 16), generator(), None, 12)


def test_an_empty_pipeline_is_one_resize(photo, generator):
    image = photo(150, 70)
    np.testing.assert_array_equal(Pipeline()(image, generator(), None, 20), square(image, 20))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Step("hflop"),
        lambda: Step("hflip", 1.5),
        lambda: Step("blur", 1.0, {"radius": (1, 2)}),
        lambda: OneOf(((0.5, ()), (0.4, ()))),
    ],
)
def test_a_wrong_step_is_refused_at_birth(make):
    with pytest.raises(AssertionError):
        make()
