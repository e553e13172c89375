"""`tollgate keys` on a real table, and moto's API Gateway."""

import argparse
import json
from copy import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from cli import key_list
from cli.keys import create_key, disable_key
from cli.stack import Stack, StackError
from tests.contract.moto_stores import REGISTRY_TABLE, LocalAws
from tests.fakes.examples import make_catalogue
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogueWriter
from tollgate.adapters.dynamodb.registry.keys import RegistryKeys, key_hash
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.errors import CatalogueError


@pytest.fixture
def stack(aws: LocalAws) -> Stack:
    apigateway = aws.boto3_client("apigateway")
    for key in apigateway.get_api_keys()["items"]:
        apigateway.delete_api_key(apiKey=key["id"])
    plan = apigateway.create_usage_plan(name="tollgate")["id"]
    found = Stack("tollgate", "us-east-1", {"RegistryTableName": REGISTRY_TABLE, "UsagePlanId": plan}, "arm64")
    found.__dict__["tables"] = aws.dynamodb
    found.__dict__["apigateway"] = apigateway
    return found


def _arguments(tenant: str = "acme", team: str = "", days: int | None = None) -> argparse.Namespace:
    return argparse.Namespace(tenant=tenant, team=team, scopes="infer,admin", expires_days=days)


def _made(stack: Stack, capsys: pytest.CaptureFixture[str], **values: Any) -> tuple[str, str]:
    """Id and secret of a new key."""
    create_key(stack, _arguments(**values))
    printed = capsys.readouterr()
    return printed.err.split()[0], printed.out.strip()


def _listed(stack: Stack, capsys: pytest.CaptureFixture[str], tenant: str | None = None) -> list[dict[str, Any]]:
    assert key_list.list_keys(stack, argparse.Namespace(tenant=tenant, json=True)) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return rows


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


def test_keys_are_listed_without_their_secrets(
    aws: LocalAws, stack: Stack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of this stack only, in the order of their making, with the budgets that count them; however they are paged."""
    monkeypatch.setattr(key_list, "_PAGE", 1)
    budgets = (
        Budget(ScopeKind.KEY, "*", BudgetPeriod.DAY, Decimal(5)),
        Budget(ScopeKind.TEAM, "search", BudgetPeriod.TOTAL, Decimal("2.50"), max_calls=9, shadow=True),
        Budget(ScopeKind.GATEWAY, "", BudgetPeriod.MONTH, Decimal(100)),
    )
    writer = RegistryCatalogueWriter(aws.dynamodb, REGISTRY_TABLE)
    writer.store(replace(make_catalogue(), version=1, budgets=budgets), now=datetime.now(UTC))
    writer.point_to(1, expected=0)
    first, first_secret = _made(stack, capsys, team="search")
    second, second_secret = _made(stack, capsys, tenant="other", days=1)
    stack.apigateway.create_api_key(name="tollgate-two-key_x", value="x" * 64)
    rows = _listed(stack, capsys)
    assert [(row["id"], row["tenant"], row["team"]) for row in rows] == [
        (first, "acme", "search"),
        (second, "other", ""),
    ]
    assert rows[0]["scopes"] == "admin infer"
    assert rows[0]["budgets"] == ["key: $5 a day", "team: $2.50, 9 calls in total (shadow)"]
    assert (rows[0]["state"], rows[1]["state"][:6]) == ("active", "until ")
    assert [row["id"] for row in _listed(stack, capsys, "other")] == [second]
    key_list.list_keys(stack, argparse.Namespace(tenant=None, json=False))
    table = capsys.readouterr().out
    assert first in table
    for secret in (first_secret, second_secret):
        assert secret not in table
        assert key_hash(secret)[:8] not in table


def test_keys_are_not_listed_without_the_budgets_of_a_catalogue_that_is_missing(aws: LocalAws, stack: Stack) -> None:
    """They would look as if they had none; only a new stack has no catalogue."""
    RegistryCatalogueWriter(aws.dynamodb, REGISTRY_TABLE).point_to(7, expected=0)
    with pytest.raises(CatalogueError, match="version 7 is missing"):
        key_list.list_keys(stack, argparse.Namespace(tenant=None, json=True))


def test_a_stack_without_keys_says_how_to_make_one(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """And needs no catalogue for that."""
    assert key_list.list_keys(stack, argparse.Namespace(tenant=None, json=False)) == 0
    assert "tollgate keys create" in capsys.readouterr().out
    assert _listed(stack, capsys) == []


@pytest.mark.parametrize("by", ["id", "secret", "hash"])
def test_a_key_is_disabled_by_any_of_its_names(stack: Stack, capsys: pytest.CaptureFixture[str], by: str) -> None:
    """The id is what the list shows; who lost the secret has nothing else."""
    key_id, secret = _made(stack, capsys)
    other, _ = _made(stack, capsys)
    given = {"id": key_id, "secret": secret, "hash": key_hash(secret)}[by]
    assert disable_key(stack, argparse.Namespace(key=given)) == 0
    assert key_id in capsys.readouterr().out
    assert {row["id"]: row["state"] for row in _listed(stack, capsys)} == {key_id: "disabled", other: "active"}


@pytest.mark.parametrize("given", ["key_", "key_0", "tg_nobody", "acme"])
def test_what_is_no_key_is_told(stack: Stack, capsys: pytest.CaptureFixture[str], given: str) -> None:
    """The beginning of an id is none either."""
    _made(stack, capsys)
    with pytest.raises(StackError, match="no such key"):
        disable_key(stack, argparse.Namespace(key=given))
