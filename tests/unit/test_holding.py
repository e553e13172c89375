"""Telling work from waiting, from arrivals and ends alone."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from tollgate.domain.roads.holding import REMEMBERED, Holdings, take_place

_START = datetime(2026, 3, 1, tzinfo=UTC)


def _at(seconds: float) -> datetime:
    return _START + timedelta(seconds=seconds)


def test_an_idle_place_is_held_from_arrival_to_end() -> None:
    """Nobody waited, so all of the time is work."""
    _, held = take_place(Holdings(), request_id="a", received=_at(1), finished=_at(3.5), count=1)
    assert held == Decimal("2.5")


def test_waiting_for_a_busy_place_is_not_charged() -> None:
    """Three requests at once on two places: the third starts when the first place is free."""
    places = Holdings()
    charged = []
    for name, end in (("a", 2), ("b", 3), ("c", 4)):
        places, held = take_place(places, request_id=name, received=_at(0), finished=_at(end), count=2)
        charged.append(held)
    assert charged == [Decimal(2), Decimal(3), Decimal(2)]


def test_a_late_notification_is_not_charged_for_time_already_charged() -> None:
    """It ended before the place's last known end, and the place was never idle."""
    places, _ = take_place(Holdings(), request_id="b", received=_at(0), finished=_at(9), count=1)
    after, held = take_place(places, request_id="a", received=_at(0), finished=_at(5), count=1)
    assert held == Decimal(0)
    assert after.places[0].free_at == _at(9)


def test_a_late_notification_is_charged_for_the_time_in_which_its_place_was_thought_idle() -> None:
    """Three that ended before the one that was told first; the last two overlap, and share what is left."""
    places, charged = Holdings(), []
    for name, began, end in (("d", 20, 22), ("a", 1, 3), ("b", 10, 14), ("c", 12, 15), ("a", 1, 3)):
        places, held = take_place(places, request_id=name, received=_at(began), finished=_at(end), count=1)
        charged.append(held)
    assert charged == [2, 2, 4, 1, 2]


def test_a_request_that_waited_for_an_instance_is_charged_for_no_more_than_its_container_may_work() -> None:
    """The endpoint was at zero: its one place was free all the time, and not there. Another may be late for that."""
    places, held = take_place(Holdings(), request_id="a", received=_at(0), finished=_at(302), count=1, most_seconds=30)
    assert held == Decimal(30)
    _, before = take_place(places, request_id="b", received=_at(250), finished=_at(260), count=1, most_seconds=30)
    assert before == Decimal(10)


def test_a_doubled_notification_changes_nothing() -> None:
    """It gets the figure that it got the first time."""
    places, first = take_place(Holdings(), request_id="a", received=_at(0), finished=_at(5), count=4)
    after, second = take_place(places, request_id="a", received=_at(0), finished=_at(7), count=4)
    assert (after, second) == (places, first)


def test_a_notification_that_comes_again_after_others_is_charged_as_before() -> None:
    """Its job could not be ended the first time. So it is for the last `REMEMBERED` whose places were given on."""
    places = Holdings()
    names = [f"inf_{number:06d}" for number in range(REMEMBERED + 2)]
    for number, name in enumerate(names):
        places, _ = take_place(places, request_id=name, received=_at(0), finished=_at(2 * number + 2), count=1)
    again = [take_place(places, request_id=name, received=_at(0), finished=_at(2), count=1) for name in names]
    assert [held for _, held in again] == [Decimal(0)] + [Decimal(2)] * (REMEMBERED + 1)
    assert {after for after, _ in again[1:]} == {places}


def test_a_place_that_rested_is_not_new() -> None:
    """Two places, then one, then two again: the same second is not charged to a third place."""
    places = Holdings()
    total = Decimal(0)
    for name, end, count in (("a", 1, 2), ("b", 1, 2), ("c", 0, 1), ("d", 1, 2)):
        places, held = take_place(places, request_id=name, received=_at(0), finished=_at(end), count=count)
        total += held
    assert total == Decimal(2)


_EVENTS = st.lists(
    st.tuples(
        st.floats(0, 100, allow_nan=False),
        st.floats(-5, 60, allow_nan=False),
        st.integers(0, 5),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=400)
@given(events=_EVENTS, most=st.integers(1, 5), order=st.randoms(use_true_random=False))
def test_no_more_is_charged_than_the_places_had(
    events: list[tuple[float, float, int]], most: int, order: object
) -> None:
    """Whatever comes when, in any order and with a changing number of places: at most places times wall time."""
    order.shuffle(events)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    places = Holdings()
    total = Decimal(0)
    for number, (received, duration, count) in enumerate(events):
        places, held = take_place(
            places,
            request_id=str(number),
            received=_at(received),
            finished=_at(received + duration),
            count=min(count, most),
        )
        assert held >= 0
        assert len(places.places) <= most
        total += held
    if events:
        first = min(received for received, _, _ in events)
        last = max(max(received, received + duration) for received, duration, _ in events)
        assert total <= most * (Decimal(last) - Decimal(first)) + Decimal("0.0001")
