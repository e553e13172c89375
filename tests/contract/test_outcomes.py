"""Outcomes on moto's DynamoDB through the real client, and in the fake."""

import argparse
from copy import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from cli.models import roll_back
from cli.stack import Stack, StackError
from cli.variants import compare, promote
from tests.contract.moto_stores import REGISTRY_TABLE, LocalAws
from tests.fakes.clock import ManualClock
from tests.fakes.outcomes import InMemoryOutcomes
from tests.fakes.sizes import sized_catalogue
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogue, RegistryCatalogueWriter
from tollgate.adapters.dynamodb.registry.outcomes import FLUSH_SECONDS, REFRESH_SECONDS, UNKNOWN_SPENT, RegistryOutcomes
from tollgate.domain.catalogue import Catalogue
from tollgate.domain.choice.outcomes import of_quality, of_run
from tollgate.domain.choice.policy import (
    CascadePolicy,
    Check,
    ChoicePolicy,
    DeploymentRole,
    ExtraSpend,
    TierThresholds,
)
from tollgate.domain.errors import CatalogueError, StorageError
from tollgate.domain.trimming.policy import InputBudget, TrimmingPolicy
from tollgate.ports.outcomes import Extra

RUN = of_run(failed=False, seconds=0.25, usd=0.0001, output_tokens=7)


def _real(aws: LocalAws, clock: ManualClock) -> RegistryOutcomes:
    return RegistryOutcomes(aws.dynamodb, REGISTRY_TABLE, now=clock.now, monotonic=clock.monotonic)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["fake", "dynamodb"])
def outcomes(request: pytest.FixtureRequest, aws: LocalAws, clock: ManualClock) -> InMemoryOutcomes | RegistryOutcomes:
    return InMemoryOutcomes() if request.param == "fake" else _real(aws, clock)


def test_what_is_added_can_be_read(outcomes: InMemoryOutcomes | RegistryOutcomes) -> None:
    """By deployment and topic, of this model only."""
    assert outcomes.of("chat") == {}
    outcomes.add("chat", "little", "code", RUN)
    outcomes.add("chat", "little", "code", of_quality(0.5))
    outcomes.add("chat", "big", "long", RUN)
    outcomes.add("other", "big", "long", RUN)
    assert outcomes.of("chat") == {("little", "code"): RUN.plus(of_quality(0.5)), ("big", "long"): RUN}


def test_money_is_added_up_by_day_and_purpose(
    outcomes: InMemoryOutcomes | RegistryOutcomes, clock: ManualClock
) -> None:
    """Exactly."""
    outcomes.spend("chat", Extra.EXPLORE, Decimal("0.1"))
    outcomes.spend("chat", Extra.EXPLORE, Decimal("0.2"))
    assert outcomes.spent("chat", Extra.EXPLORE) == Decimal("0.3")
    assert outcomes.spent("chat", Extra.SHADOW) == 0
    if isinstance(outcomes, RegistryOutcomes):
        outcomes.flush()
        assert outcomes.spent("chat", Extra.EXPLORE) == Decimal("0.3")
        clock.advance(86_400)
        assert outcomes.spent("chat", Extra.EXPLORE) == 0


def test_an_inference_is_judged_once(outcomes: InMemoryOutcomes | RegistryOutcomes, clock: ManualClock) -> None:
    """The first word stays; another tenant's inference of the same name is another one."""
    good, bad = of_quality(1.0), of_quality(0.0)
    assert outcomes.judge("chat", "little", "code", good, tenant="acme", inference_id="inf_1")
    assert not outcomes.judge("chat", "little", "code", bad, tenant="acme", inference_id="inf_1")
    assert outcomes.judge("chat", "little", "code", bad, tenant="else", inference_id="inf_1")
    clock.advance(REFRESH_SECONDS)
    assert outcomes.of("chat")["little", "code"].mean_quality == 0.5


def test_requests_do_not_pay_for_writes(aws: LocalAws, clock: ManualClock) -> None:
    """What is added is written once a minute, and other environments see it then."""
    one, other = _real(aws, clock), _real(aws, clock)
    for _ in range(5):
        one.add("chat", "little", "code", RUN)
    assert other.of("chat") == {}
    clock.advance(FLUSH_SECONDS)
    one.add("chat", "little", "code", RUN)
    clock.advance(REFRESH_SECONDS)
    assert other.of("chat")["little", "code"].requests == 6
    assert one.of("chat")["little", "code"].requests == 6


def test_two_environments_add_to_the_same_sums(aws: LocalAws, clock: ManualClock) -> None:
    """Nothing is overwritten."""
    one, other = _real(aws, clock), _real(aws, clock)
    for store in (one, other):
        store.add("chat", "little", "code", RUN)
        store.flush()
    found = _real(aws, clock).of("chat")["little", "code"]
    assert found.requests == 2
    assert found.seconds == pytest.approx(0.5)


def test_money_is_known_elsewhere_at_once(aws: LocalAws, clock: ManualClock) -> None:
    """Also where the environment that spent it ends right afterwards, and none of it twice."""
    _real(aws, clock).spend("chat", Extra.SHADOW, Decimal("0.7"))
    one = _real(aws, clock)
    one.spend("chat", Extra.SHADOW, Decimal("0.2"))
    one.flush()
    assert _real(aws, clock).spent("chat", Extra.SHADOW) == Decimal("0.9")


def test_money_that_cannot_be_written_down_is_not_forgotten(aws: LocalAws, clock: ManualClock) -> None:
    """It counts where it was spent, and is written when the table is back; where nobody can look, nothing is left."""
    store = _real(aws, clock)
    assert store.spent("chat", Extra.SHADOW) == 0
    table, store._table = store._table, "Missing"
    store.spend("chat", Extra.SHADOW, Decimal("0.7"))
    store.flush()
    assert store.spent("chat", Extra.SHADOW) == Decimal("0.7")
    assert store.spent("other", Extra.SHADOW) == UNKNOWN_SPENT
    store._table = table
    store.flush()
    assert _real(aws, clock).spent("chat", Extra.SHADOW) == Decimal("0.7")
    clock.advance(REFRESH_SECONDS)
    assert store.spent("other", Extra.SHADOW) == 0


def test_old_weeks_are_forgotten(aws: LocalAws, clock: ManualClock) -> None:
    """A model that was changed a month ago is judged by what it does now."""
    store = _real(aws, clock)
    store.add("chat", "little", "code", RUN)
    store.flush()
    clock.advance(timedelta(weeks=3).total_seconds())
    assert _real(aws, clock).of("chat")["little", "code"].requests == 1
    clock.advance(timedelta(weeks=2).total_seconds())
    assert _real(aws, clock).of("chat") == {}


def test_a_table_that_fails_stops_nobody(aws: LocalAws, clock: ManualClock) -> None:
    """Choosing goes on without records; only feedback, which would be lost, says so."""
    store = RegistryOutcomes(aws.dynamodb, "Missing", now=clock.now, monotonic=clock.monotonic)
    store.add("chat", "little", "code", RUN)
    store.flush()
    assert store.of("chat") == {}
    with pytest.raises(StorageError):
        store.judge("chat", "little", "code", RUN, tenant="acme", inference_id="inf_1")


def _stack(aws: LocalAws) -> Stack:
    stack = Stack("tollgate", "us-east-1", {"RegistryTableName": REGISTRY_TABLE}, "arm64")
    stack.__dict__["tables"] = aws.dynamodb
    return stack


def _with_challenger() -> Catalogue:
    cascade = CascadePolicy(checks=frozenset({Check.REFUSAL}), min_characters=4)
    choice = ChoicePolicy(
        thresholds=TierThresholds(0.25, 0.75),
        quality=0.95,
        sticky=False,
        explore=ExtraSpend(0.1, Decimal("2.50")),
        cascade=cascade,
        shadow=ExtraSpend(0.05, Decimal(1)),
    )
    catalogue = sized_catalogue(choice, TrimmingPolicy(input_tokens=4_000, documents_top_k=5))
    model = catalogue.models["chat"]
    little, big = model.deployments
    other = replace(
        little, name="next", role=DeploymentRole.CHALLENGER, expected_quality=0.6, resembles="gemma-2-9b-it"
    )
    ghost = replace(little, name="ghost", role=DeploymentRole.SHADOW, weight=0)
    models = {**catalogue.models, "chat": replace(model, deployments=(little, other, big, ghost))}
    return replace(catalogue, models=models, input_budgets=(InputBudget("key_1", "*", 2_000),))


def _apply(aws: LocalAws, catalogue: Catalogue) -> RegistryCatalogueWriter:
    writer = RegistryCatalogueWriter(aws.dynamodb, REGISTRY_TABLE)
    writer.store(catalogue, now=datetime(2026, 3, 1, tzinfo=UTC))
    writer.point_to(catalogue.version, expected=0)
    return writer


def test_promote_and_roll_back_are_one_command_each(aws: LocalAws, capsys: pytest.CaptureFixture[str]) -> None:
    """And one version each way; what cannot be promoted changes nothing."""
    writer, stack = _apply(aws, _with_challenger()), _stack(aws)
    assert promote(stack, argparse.Namespace(model="chat", deployment="next")) == 0
    assert "tollgate models rollback 1" in capsys.readouterr().out
    assert writer.current_version() == 2
    with pytest.raises(CatalogueError, match="already"):
        promote(stack, argparse.Namespace(model="chat", deployment="next"))
    assert roll_back(stack, argparse.Namespace(version=None)) == 0
    assert (writer.current_version(), writer.newest_version()) == (1, 2)
    with pytest.raises(StackError, match="no catalogue version 9"):
        roll_back(stack, argparse.Namespace(version=9))


def test_rolling_back_to_what_is_in_force_changes_nothing(aws: LocalAws, capsys: pytest.CaptureFixture[str]) -> None:
    """The version before it stays the one that the next roll-back goes to."""
    writer, stack = _apply(aws, _with_challenger()), _stack(aws)
    promote(stack, argparse.Namespace(model="chat", deployment="next"))
    capsys.readouterr()
    assert roll_back(stack, argparse.Namespace(version=2)) == 0
    assert capsys.readouterr().out == "Version 2 is in force already.\n"
    assert roll_back(stack, argparse.Namespace(version=None)) == 0
    assert writer.current_version() == 1


def test_compare_says_what_is_known(aws: LocalAws, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures with intervals, and what is not yet known with how much it would take."""
    _apply(aws, _with_challenger())
    stack = _stack(aws)
    wanted = argparse.Namespace(model="chat", topic=None)
    assert compare(stack, wanted) == 0
    assert "what runs is recorded within minutes" in capsys.readouterr().out
    assert compare(stack, argparse.Namespace(model="echo", topic=None)) == 0
    assert "only models with 'choice'" in capsys.readouterr().out
    store = RegistryOutcomes(aws.dynamodb, REGISTRY_TABLE, now=lambda: datetime.now(UTC), monotonic=lambda: 0.0)
    for number in range(200):
        for name, factor in (("little", 1.0), ("next", 0.5)):
            usd, seconds = factor * (0.0002 + number % 7 * 0.00001), 1.0 + number % 5 * 0.1
            store.add("chat", name, "code", of_run(failed=False, seconds=seconds, usd=usd, output_tokens=9))
    for _ in range(12):
        store.add("chat", "little", "code", of_quality(0.8))
        store.add("chat", "next", "long", of_quality(0.9))
    store.flush()
    compare(stack, wanted)
    said = capsys.readouterr().out
    assert "next against little:" in said
    assert "cost: better (-50.0%" in said
    assert "seconds: no difference that matters" in said
    assert "quality: not enough data" in said
    assert "of each would do" in said
    compare(stack, argparse.Namespace(model="chat", topic="long"))
    assert "cost: not enough data; about" in capsys.readouterr().out


def test_the_whole_policy_is_stored(aws: LocalAws) -> None:
    """And read back the same, so that a version explains what was chosen under it."""
    catalogue = _with_challenger()
    _apply(aws, catalogue)
    stored = RegistryCatalogue(aws.dynamodb, REGISTRY_TABLE, lambda: 0.0).current()
    assert stored._replace(seal="") == catalogue
