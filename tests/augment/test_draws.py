import numpy as np

from isckit.augment.draws import Choice, draw, draw_whole


def test_a_choice_draws_its_values_alike_and_a_repeated_one_more_often(generator):
    rng = generator()
    drawn = [draw(rng, Choice((0.1, 0.7, 0.7, 3.0))) for _ in range(4000)]
    shares = [drawn.count(value) / 4000 for value in (0.1, 0.7, 3.0)]
    np.testing.assert_allclose(shares, (0.25, 0.5, 0.25), atol=0.03)
    assert {draw_whole(rng, Choice((10, 50))) for _ in range(50)} == {10, 50}


def test_ranges_are_drawn_as_numpy_draws_them(generator):
    assert draw(generator(3), (2.0, 5.0)) == generator(3).uniform(2, 5)
    assert {draw_whole(generator(k), (2, 4)) for k in range(60)} == {2, 3, 4}


def test_a_choice_as_text():
    assert str(Choice((10, 20, 0.125))) == "one of 10 20 0.125"
    assert str(Choice(tuple(range(7, 37)))) == "one of 30 values 7..36"
