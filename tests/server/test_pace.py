from __future__ import annotations

from contextlib import ExitStack

import pytest

from mattebox.server.pace import MEMORY_SECONDS, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def work(pace: Pace, clock: Clock, pixels: int, seconds: float, *, kind: str = "auto", times: int = 1) -> None:
    for _ in range(times):
        with pace.measure(lambda: kind, pixels):
            clock.now += seconds


def test_before_anything_was_measured_the_estimate_holds_and_large_pictures_take_longer(clock: Clock) -> None:
    pace = Pace(2.0, clock=clock)
    assert pace.predict("auto", 0) == pytest.approx(2.0)
    assert pace.predict("auto", 20_000_000) == pytest.approx(3.0)


def test_the_cost_of_a_picture_and_of_its_pixels_are_learnt(clock: Clock) -> None:
    pace = Pace(2.0, clock=clock)
    for _ in range(16):
        work(pace, clock, 1_000_000, 0.5 + 0.1)
        work(pace, clock, 24_000_000, 0.5 + 2.4)
    for megapixels in (0.1, 12, 48):
        assert pace.predict("auto", round(megapixels * 1e6)) == pytest.approx(0.5 + 0.1 * megapixels, rel=0.2)
    assert pace.predict("other", 0) == pytest.approx(2.0)


def test_beside_others_a_picture_costs_what_it_costs_alone(clock: Clock) -> None:
    alone, beside = Pace(2.0, clock=clock), Pace(2.0, clock=clock)
    work(alone, clock, 10**6, 1.5, times=8)
    for _ in range(2):
        with ExitStack() as four:
            for _ in range(4):
                four.enter_context(beside.measure(lambda: "auto", 10**6))
            clock.now += 6.0  # a quarter of the machine each
    assert beside.predict("auto", 10**6) == pytest.approx(alone.predict("auto", 10**6))


def test_what_was_measured_long_ago_is_forgotten(clock: Clock) -> None:
    pace = Pace(2.0, clock=clock)
    work(pace, clock, 10**6, 60.0, times=5)
    assert pace.predict("auto", 10**6) > 30
    clock.now += MEMORY_SECONDS + 1
    assert pace.predict("auto", 0) == pytest.approx(2.0)


def test_of_what_was_cut_short_only_that_it_takes_long_is_learnt(clock: Clock) -> None:
    pace = Pace(2.0, clock=clock)

    def give_up(seconds: float) -> None:
        with pace.measure(lambda: "auto", 0):
            clock.now += seconds
            raise TimeoutError

    for seconds, least in ((0.1, 1.99), (40.0, 20.0)):
        with pytest.raises(TimeoutError):
            give_up(seconds)
        assert pace.predict("auto", 0) >= least
    assert pace.active == 0


def test_large_pictures_that_were_quick_by_chance_promise_nothing(clock: Clock) -> None:
    pace = Pace(1.0, clock=clock)
    work(pace, clock, 10_000, 3.0, times=10)
    work(pace, clock, 24_000_000, 0.5, times=10)
    assert 0.5 < pace.predict("auto", 50_000_000) < 3.0
