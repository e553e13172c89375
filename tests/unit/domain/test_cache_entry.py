"""When a stored answer may be given, to the millisecond, and what is an answer at all."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tollgate.domain.cache.control import CacheControl
from tollgate.domain.cache.entry import (
    CachedAnswer,
    CacheOutcome,
    CacheSlot,
    Forgotten,
    Refusal,
    epoch_ms,
    is_complete,
    is_deterministic_refusal,
    saves_from_error,
    usable,
)
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.catalogue import ModelKind
from tollgate.domain.errors import ModelFailedError
from tollgate.domain.jobs.job import Usage

_MADE, _FRESH = 100_000, 160_000
_ANSWER = CachedAnswer("text", Usage(), "echo/small", None, 90_000, _MADE, _FRESH, 999_000)
_REFUSED = _ANSWER._replace(refusal=Refusal("no", 400))
_POLICY = CachePolicy(stale_seconds=10, stale_if_error_seconds=20)
_HIT, _STALE = CacheOutcome.HIT, CacheOutcome.STALE


@pytest.mark.parametrize(
    ("answer", "control", "now_ms", "outcome"),
    [
        (_ANSWER, CacheControl(), _FRESH - 1, _HIT),
        (_ANSWER, CacheControl(), _FRESH, _STALE),
        (_ANSWER, CacheControl(), _FRESH + 9_999, _STALE),
        (_ANSWER, CacheControl(), _FRESH + 10_000, None),
        (_REFUSED, CacheControl(), _FRESH - 1, _HIT),
        (_REFUSED, CacheControl(), _FRESH, None),
        # Younger than the caller says, and as old as that.
        (_ANSWER, CacheControl(max_age_seconds=30), _MADE + 30_000, _HIT),
        (_ANSWER, CacheControl(max_age_seconds=30), _MADE + 30_001, None),
        # The caller's own time, unless the answer's is over before.
        (_ANSWER, CacheControl(ttl_seconds=30), _MADE + 29_999, _HIT),
        (_ANSWER, CacheControl(ttl_seconds=30), _MADE + 30_000, _STALE),
        (_ANSWER, CacheControl(ttl_seconds=30), _MADE + 40_000, None),
        (_ANSWER, CacheControl(ttl_seconds=90), _FRESH, _STALE),
        # As stale as the caller and the policy allow.
        (_ANSWER, CacheControl(max_stale_seconds=0), _FRESH, None),
        (_ANSWER, CacheControl(max_stale_seconds=5), _FRESH + 4_999, _STALE),
        (_ANSWER, CacheControl(max_stale_seconds=5), _FRESH + 5_000, None),
        (_ANSWER, CacheControl(max_stale_seconds=99), _FRESH + 10_000, None),
    ],
)
def test_an_answer_is_a_hit_then_stale_then_nothing(
    answer: CachedAnswer, control: CacheControl, now_ms: int, outcome: CacheOutcome | None
) -> None:
    """A model's refusal is never stale."""
    assert usable(answer, control, _POLICY, now_ms) is outcome


@pytest.mark.parametrize(
    ("answer", "control", "now_ms", "saves"),
    [
        (_ANSWER, CacheControl(), _FRESH - 1, True),
        (_ANSWER, CacheControl(), _FRESH + 19_999, True),
        (_ANSWER, CacheControl(), _FRESH + 20_000, False),
        (_REFUSED, CacheControl(), _FRESH - 1, False),
        (_ANSWER, CacheControl(read=False), _FRESH - 1, False),
        (_ANSWER, CacheControl(max_age_seconds=60), _FRESH, True),
        (_ANSWER, CacheControl(max_age_seconds=60), _FRESH + 1, False),
        (_ANSWER, CacheControl(max_stale_seconds=5), _FRESH + 5_000, False),
    ],
)
def test_an_old_answer_is_better_than_an_error(
    answer: CachedAnswer, control: CacheControl, now_ms: int, saves: bool
) -> None:
    """For as long as the policy and the caller allow; another refusal is not."""
    assert saves_from_error(answer, control, _POLICY, now_ms) is saves


def test_ages_and_moments_are_whole() -> None:
    """A clock that is behind makes no answer younger than new."""
    assert [_ANSWER.age_seconds(_MADE + ms) for ms in (-5_000, 0, 999, 1_000, 2_999)] == [0, 0, 0, 1, 2]
    assert epoch_ms(datetime(1970, 1, 1, 0, 0, 1, 2_999, tzinfo=UTC)) == 1_002


def test_a_lease_ends_at_its_moment() -> None:
    """From then on another request may take it."""
    assert CacheSlot(lease_until_ms=5).is_led(4)
    assert not CacheSlot(lease_until_ms=5).is_led(5)
    assert not CacheSlot().is_led(0)


@pytest.mark.parametrize(
    ("at_ms", "covered"),
    [
        ({}, False),
        ({"all": 89_999}, False),
        ({"all": 90_000}, True),
        ({"model#echo": 90_000}, True),
        ({"namespace#shared": 90_000}, True),
        ({"model#other": 99_999, "namespace#": 99_999}, False),
        ({"all": 1, "model#echo": 90_000}, True),
    ],
)
def test_what_began_before_it_was_forgotten_is_not_given(at_ms: dict[str, int], covered: bool) -> None:
    """By everything, by its model or by its namespace."""
    assert Forgotten(at_ms).covers(_ANSWER, "echo", "shared") is covered


def _choices(*reasons: str | None) -> dict[str, Any]:
    return {"choices": [{"text": "x", "finish_reason": reason} for reason in reasons]}


@pytest.mark.parametrize(
    ("output", "kind", "inputs", "complete"),
    [
        (_choices("stop", "length", "tool_calls", "function_call"), ModelKind.CHAT, None, True),
        (_choices("stop", "content_filter"), ModelKind.CHAT, None, False),
        ("no chat", ModelKind.CHAT, None, False),
        ([[0.1], [0.2]], ModelKind.EMBEDDING, ["a", "b"], True),
        ([[0.1]], ModelKind.EMBEDDING, ["a", "b"], False),
        ([[0.1]], ModelKind.EMBEDDING, None, True),
        ("no vectors", ModelKind.EMBEDDING, ["a"], False),
        ("anything", ModelKind.ANY, None, True),
        (0, ModelKind.ANY, None, True),
        (None, ModelKind.ANY, None, False),
    ],
)
def test_only_whole_answers_are_kept(output: Any, kind: ModelKind, inputs: list[str] | None, complete: bool) -> None:
    """A chat that ended by itself, a vector for each text, and whatever another model says unless it is nothing."""
    assert is_complete(output, kind, inputs) is complete


@pytest.mark.parametrize(
    ("status", "lasting"),
    [
        *((status, True) for status in (400, 422, 499)),
        *((status, False) for status in (399, 408, 409, 423, 424, 425, 429, 500)),
    ],
)
def test_a_refusal_that_will_come_again_is_remembered(status: int, lasting: bool) -> None:
    """Not one that depends on time or load."""
    assert is_deterministic_refusal(ModelFailedError("no", original_status=status)) is lasting
