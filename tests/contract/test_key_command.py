"""`tollgate keys create` on a real table."""

import argparse
from types import SimpleNamespace

import pytest

from cli.keys import create_key
from cli.stack import Stack, StackError
from tests.contract.moto_stores import REGISTRY_TABLE, LocalAws
from tollgate.adapters.registry_keys import RegistryKeys, key_hash


@pytest.fixture
def stack(aws: LocalAws) -> Stack:
    found = Stack("tollgate", "us-east-1", {"RegistryTableName": REGISTRY_TABLE, "UsagePlanId": "plan"}, "arm64")
    found.__dict__["tables"] = aws.dynamodb
    found.__dict__["apigateway"] = SimpleNamespace(
        create_api_key=lambda **_: {"id": "1"}, create_usage_plan_key=lambda **_: {}
    )
    return found


def _arguments(tenant: str = "acme", team: str = "") -> argparse.Namespace:
    return argparse.Namespace(tenant=tenant, team=team, scopes="infer", expires_days=None)


def test_the_secret_and_the_id_are_told(aws: LocalAws, stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """The secret alone on the standard output, for scripts; the id, which budgets name, beside it."""
    assert create_key(stack, _arguments(team="search")) == 0
    printed = capsys.readouterr()
    record = RegistryKeys(aws.dynamodb, REGISTRY_TABLE).find(key_hash(printed.out.strip()))
    assert record is not None
    assert (record.tenant, record.team) == ("acme", "search")
    assert printed.err.startswith(f"{record.key_id} ")


@pytest.mark.parametrize("name", ["", "a/b", "a#b", "a b", "ü", "a" * 129])
def test_names_that_counters_could_not_tell_apart_are_refused(stack: Stack, name: str) -> None:
    """Team `c` of tenant `a/b` would share the counter of team `b/c` of tenant `a`; budgets cannot name it anyway."""
    with pytest.raises(StackError, match="--tenant"):
        create_key(stack, _arguments(tenant=name))
    if name:
        with pytest.raises(StackError, match="--team"):
            create_key(stack, _arguments(team=name))
