"""A live endpoint is measured with requests, and its timing comes out of the noise."""

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.calibrate import measure
from planner.calibration import Sample, fit, places, rates


@given(st.floats(0.01, 2), st.floats(0, 0.01), st.floats(0, 0.1))
def test_a_linear_endpoint_is_found_exactly(base: float, per_input: float, per_output: float) -> None:
    """Without noise the three figures come back."""
    sizes = [(i, o) for i in (10, 100, 700) for o in (4, 20, 60)]
    found = fit([Sample(i, o, base + per_input * i + per_output * o) for i, o in sizes])
    assert found.timing.base_seconds == pytest.approx(base, rel=1e-3, abs=1e-4)
    assert found.timing.seconds_per_input_token == pytest.approx(per_input, rel=1e-3, abs=1e-6)
    assert found.timing.seconds_per_output_token == pytest.approx(per_output, rel=1e-3, abs=1e-5)
    assert found.error < 1e-3


def test_noise_makes_no_negative_rate() -> None:
    """An endpoint whose time depends on nothing gets rates of zero or more, and about its mean time."""
    source = random.Random(4)  # noqa: S311 - a test wants to be repeatable
    samples = [Sample(i, o, 1.0 + source.uniform(-0.2, 0.2)) for i in (10, 300) for o in (4, 40) for _ in range(20)]
    timing = fit(samples).timing
    assert min(timing.base_seconds, timing.seconds_per_input_token, timing.seconds_per_output_token) >= 0
    assert timing.expected_seconds(100, 20) == pytest.approx(1.0, abs=0.1)


def test_nothing_measured_is_refused() -> None:
    """Without samples there is no timing."""
    with pytest.raises(ValueError, match="measured"):
        fit([])


def test_places_end_where_throughput_does() -> None:
    """Four at once give twice what two give; eight give hardly more."""
    assert places({1: 10.0, 2: 20.0, 4: 39.0, 8: 41.0, 16: 70.0}) == 4
    assert places({1: 10.0, 2: 9.0}) == 1


@given(st.sampled_from([1, 2, 4, 8]), st.integers(0, 11), st.floats(0, 60))
def test_a_wave_that_stalls_once_changes_nothing(workers: int, stalled: int, stall: float) -> None:
    """Whichever wave is held up for however long, the places are those that the endpoint has."""
    waves: list[int] = []

    def wave(count: int) -> float:
        waves.append(count)
        return 0.2 * math.ceil(count / workers) + (stall if len(waves) - 1 == stalled else 0)

    found = rates(wave, 8)
    assert places(found) == workers
    assert found[workers] == pytest.approx(5 * workers)


def test_waves_end_where_they_gain_nothing() -> None:
    """An endpoint of two places gets waves of one, two and four requests; none above the limit."""
    sent: list[int] = []

    def wave(count: int) -> float:
        sent.append(count)
        return math.ceil(count / 2)

    assert list(rates(wave, 16)) == [1, 2, 4]
    assert set(sent) == {1, 2, 4}
    assert list(rates(wave, 3)) == [1, 2]


def test_a_call_that_stalls_leaves_the_throughput_as_it_is() -> None:
    """The command's requests per second are those of a wave in which nothing was held up."""
    now, calls = 0.0, 0

    def invoke(_body: bytes) -> bytes:
        nonlocal now, calls
        calls += 1
        now += 30 if calls == 2 else 0.25
        return b"{}"

    assert measure(invoke, "inputs", 1, 1, clock=lambda: now)["requests_per_second"] == {"1": 4.0}


def test_measuring_reads_usage_and_fits_it() -> None:
    """The container's own count is what time is fitted to; here each call moves a clock by a known time."""
    now = 0.0

    def invoke(body: bytes) -> bytes:
        nonlocal now
        document = json.loads(body)
        read = len(document["messages"][0]["content"].split()) + 3
        now += 0.2 + 0.001 * read + 0.02 * document["max_tokens"]
        return json.dumps({"usage": {"prompt_tokens": read, "completion_tokens": document["max_tokens"]}}).encode()

    found = measure(invoke, "messages", 2, 1, clock=lambda: now)
    assert found["concurrency"] == 1
    assert found["base_seconds"] == pytest.approx(0.2, abs=1e-3)
    assert found["seconds_per_input_token"] == pytest.approx(0.001, abs=1e-5)
    assert found["seconds_per_output_token"] == pytest.approx(0.02, abs=1e-4)
