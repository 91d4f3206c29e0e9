import numpy as np
import pytest

from isckit.augment.draws import Choice
from isckit.augment.geometry import square
from isckit.augment.steps import Pipeline, Step, run, step

RED = Step("shuffle_channels")


def test_a_step_happens_as_often_as_its_probability(photo, generator):
    image = photo(4, 6)
    step = Step("hflip", 0.3)
    done = [not np.array_equal(step.apply(image, generator(k), None, 8), image) for k in range(2000)]
    assert abs(np.mean(done) - 0.3) < 0.035
    assert not any((Step("hflip", 0.0).apply(image, generator(k), None, 8) != image).any() for k in range(20))


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
    ],
)
def test_a_wrong_step_is_refused_at_birth(make):
    with pytest.raises(AssertionError):
        make()


def test_a_step_as_text():
    assert step("jpeg", 0.5, quality=Choice((10, 50))).rows() == [("jpeg", "0.5", "quality one of 10 50")]
    assert step("pixelate", look=("soft", "blocky")).rows() == [("pixelate", "1", "look soft or blocky")]
    assert step("emoji", share=(0.1, 1.0), category="flags").rows()[0][2] == "share 0.1..1, category flags"
    assert step("pad", even=True).rows()[0][2] == "even True"
