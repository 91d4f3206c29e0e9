import math

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from isckit.config import Optim
from isckit.engine.optimisers import factor


def factors(settings, epochs, at):
    return [factor(settings, epoch, epochs=epochs, losses=()) for epoch in at]


def test_the_25_factors_of_visionforce():
    settings = Optim(warmup_epochs=5, warmup_start=0.01, hold_epochs=5, schedule="cosine", per="epoch")
    published = """.01 .208 .406 .604 .802 1 1 1 1 1 1 .989 .957 .905 .835 .75 .655 .552 .448 .345 .25 .165 .095 .043
        .011"""
    assert factors(settings, 25, range(25)) == pytest.approx([float(x) for x in published.split()], abs=6e-4)
    closed = [
        0.99 * e / 5 + 0.01 if e < 5 else 1 if e < 10 else (1 + math.cos(math.pi * (e - 10) / 15)) / 2
        for e in range(25)
    ]
    assert factors(settings, 25, range(25)) == pytest.approx(closed, abs=1e-12)


def test_once_an_epoch_means_the_factor_of_its_start():
    settings = Optim(warmup_epochs=2, warmup_start=0.5, schedule="linear", per="epoch")
    assert factors(settings, 6, (1.0, 1.999, 3.0, 3.5)) == factors(settings, 6, (1, 1, 3, 3))
    assert factor(settings, 1.5, epochs=6, losses=()) == 0.75


def test_lyakaaps_linear_decay_an_epoch():
    settings = Optim(warmup_epochs=0, schedule="linear", per="epoch")
    assert factors(settings, 3, (0, 1, 2)) == pytest.approx([1, 2 / 3, 1 / 3])
    assert factors(settings, 10, range(10)) == pytest.approx([1 - e / 10 for e in range(10)])


def test_sscds_warm_up_and_cosine_a_step():
    settings = Optim(warmup_epochs=5, schedule="cosine")
    assert factors(settings, 100, (0, 0.1, 2.5, 5, 52.5, 100)) == pytest.approx([0, 0.02, 0.5, 1, 0.5, 0])


def test_s_squares_warm_up_and_hundred_epochs_of_cosine():
    settings = Optim(lr=1e-3, warmup_epochs=4, warmup_start=0.01, schedule="cosine", final=0.001)
    rates = [settings.lr * f for f in factors(settings, 104, (0, 2, 4, 54, 104))]
    assert rates == pytest.approx([1e-5, 5.05e-4, 1e-3, (1e-3 + 1e-6) / 2, 1e-6])


def test_a_constant_schedule_stays():
    assert factors(Optim(warmup_epochs=0, schedule="constant", final=0.1), 9, (0, 4.5, 9)) == [1, 1, 1]


def test_a_schedule_of_nothing_but_warm_up_ends_at_one():
    settings = Optim(warmup_epochs=1, warmup_start=0.2)
    assert factors(settings, 1, (0, 0.5)) == pytest.approx([0.2, 0.6])
    assert factors(Optim(warmup_epochs=2, warmup_start=0.0), 1, (0.5,)) == [0.25]


LOSSES = st.lists(st.floats(0.5, 2.0) | st.sampled_from([1.0, 0.99995, 0.9998]), max_size=25)


@hypothesis_settings(deadline=None)  # the first call of torch's scheduler imports much
@given(losses=LOSSES, patience=st.integers(0, 3), cut=st.sampled_from([0.9, 0.5]), floor=st.sampled_from([0.0, 0.3]))
def test_plateau_equals_torchs_scheduler(losses, patience, cut, floor):
    settings = Optim(warmup_epochs=0, schedule="plateau", plateau_factor=cut, plateau_patience=patience, final=floor)
    stepper = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    twin = torch.optim.lr_scheduler.ReduceLROnPlateau(stepper, factor=cut, patience=patience, min_lr=floor)
    for done, loss in enumerate(losses):
        assert factor(settings, done + 0.5, epochs=30, losses=losses[:done]) == pytest.approx(
            stepper.param_groups[0]["lr"]
        )
        twin.step(loss)
    assert factor(settings, 26, epochs=30, losses=losses) == pytest.approx(stepper.param_groups[0]["lr"])


def test_plateau_starts_to_look_after_the_warm_up():
    settings = Optim(warmup_epochs=2, warmup_start=0.1, hold_epochs=1, schedule="plateau", plateau_patience=0)
    assert factor(settings, 3, epochs=9, losses=[1.0, 2.0, 3.0]) == 1
    assert factor(settings, 5, epochs=9, losses=[0.1, 0.1, 0.1, 2.0, 2.0]) == pytest.approx(0.9)


def test_plateau_takes_a_smaller_negative_loss_only_as_better():
    settings = Optim(warmup_epochs=0, schedule="plateau", plateau_patience=0)
    assert factor(settings, 2, epochs=9, losses=[-1.0, -2.0]) == 1
    assert factor(settings, 2, epochs=9, losses=[-1.0, -1.0]) == pytest.approx(0.9)


@given(
    schedule=st.sampled_from(["cosine", "linear", "constant"]),
    warmup=st.floats(0, 6),
    hold=st.floats(0, 6),
    start=st.floats(0, 1),
    final=st.floats(0, 1),
    epoch=st.floats(0, 8),
)
def test_every_factor_lies_between_the_ends_and_one(schedule, warmup, hold, start, final, epoch):
    settings = Optim(warmup_epochs=warmup, hold_epochs=hold, warmup_start=start, final=final, schedule=schedule)
    assert min(start, final) - 1e-12 <= factor(settings, epoch, epochs=8, losses=()) <= 1 + 1e-12


def test_an_epoch_that_would_train_nothing_is_refused():
    with pytest.raises(ValueError, match="warmup_start"):
        Optim(per="epoch", warmup_epochs=1)
