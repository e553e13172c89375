"""The guard between comparisons: what is kept, what counts once, and when it starts anew."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tollgate.domain.near.guard import REMEMBERED, NearGuard, guard_of, ladder_of
from tollgate.domain.near.match import LOOSEST_THRESHOLD
from tollgate.domain.near.policy import Likeness, NearPolicy, Strictness

names = some.lists(some.tuples(some.sampled_from("abcdefgh"), some.booleans()), max_size=30)


def _after(policy: NearPolicy, seen: list[tuple[str, bool]]) -> NearGuard:
    guard = guard_of(policy, None)
    for name, agrees in seen:
        guard = guard.observe(name, agrees=agrees) or guard
    return guard


@given(names, some.sampled_from(Strictness))
def test_a_guard_survives_storage(seen: list[tuple[str, bool]], strictness: Strictness) -> None:
    """What is stored comes back, and a name counts once however often it comes."""
    policy = NearPolicy(strictness=strictness)
    guard = _after(policy, seen)
    assert guard_of(policy, guard.document()) == guard
    assert guard.agreed + guard.disagreed == len({name for name, _ in seen}) == guard.version


@given(names, some.sampled_from(Strictness))
def test_a_guard_is_never_looser_than_configured(seen: list[tuple[str, bool]], strictness: Strictness) -> None:
    """Whatever is compared, the threshold stays on the ladder from the configured one upwards."""
    guard = _after(NearPolicy(strictness=strictness), seen)
    assert guard.bound.threshold >= ladder_of(NearPolicy(strictness))[0]


@pytest.mark.parametrize("likeness", Likeness)
def test_ladders_start_in_order_and_end_the_same(likeness: Likeness) -> None:
    """Stricter policies start higher, none below what the verifier takes; all can be tightened to the same end."""
    ladders = [ladder_of(NearPolicy(each, likeness=likeness)) for each in reversed(Strictness)]
    starts = [ladder[0] for ladder in ladders]
    assert starts == sorted(set(starts))
    assert starts[0] >= LOOSEST_THRESHOLD
    assert len({ladder[-1] for ladder in ladders}) == 1


def test_what_is_compared_by_changes_the_guard() -> None:
    """Comparisons on one scale say nothing about thresholds on the other."""
    by_words, by_sentences = NearPolicy(), NearPolicy(likeness=Likeness.SENTENCES)
    guard = _after(by_words, [("a", False), ("b", False)])
    assert guard_of(by_sentences, guard.document()).disagreed == 0


def test_it_loosens_step_by_step_and_not_beyond_the_policy() -> None:
    """Two wrong of two tighten it; only a sample that shows the limit to be kept brings it back, and no further."""
    guard = _after(NearPolicy(wrong_hits=0.05), [("x", False), ("y", False)])
    assert guard.bound.step == 1
    needed = 0
    while guard.bound.step == 1:
        needed += 1
        guard = guard.observe(f"n{needed}", agrees=True) or guard
    assert needed >= 60
    for number in range(400):
        guard = guard.observe(f"m{number}", agrees=True) or guard
    assert (guard.bound.step, len(guard.seen)) == (0, REMEMBERED)


@pytest.mark.parametrize("change", [{"wrong_hits": 0.1}, {"strictness": Strictness.LOOSE}])
def test_another_policy_starts_anew(change: dict[str, object]) -> None:
    """What was seen under another limit or threshold says nothing; only the version goes on, for the next write."""
    stored = _after(NearPolicy(), [("x", False), ("y", False)]).document()
    policy = NearPolicy(**{"wrong_hits": 0.05, "strictness": Strictness.STRICT, **change})  # type: ignore[arg-type]  # one of two fields
    guard = guard_of(policy, stored)
    assert (guard.bound.step, guard.agreed, guard.disagreed, guard.version) == (0, 0, 0, 2)
    assert guard.bound.limit == policy.wrong_hits


@pytest.mark.parametrize("broken", [{"limit": "x"}, {"step": 99}, {"ladder": None}])
def test_a_broken_state_starts_anew(broken: dict[str, object]) -> None:
    """What cannot be read is written over: its version is the one to follow."""
    guard = guard_of(NearPolicy(), _after(NearPolicy(), [("x", True)]).document() | broken)
    assert (guard.bound.sample, guard.version) == (0, 1)
    assert guard_of(NearPolicy(), {}) == guard_of(NearPolicy(), None)


@pytest.mark.parametrize("version", ["x", None])
def test_a_state_without_a_readable_version_is_a_new_one(version: object) -> None:
    """Nothing of it can be believed, and no request fails for it."""
    stored = _after(NearPolicy(), [("x", False), ("y", False)]).document() | {"version": version}
    assert guard_of(NearPolicy(), stored) == guard_of(NearPolicy(), None)
