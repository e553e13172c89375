"""`tollgate webhooks secret` on a real table."""

import argparse

import pytest

from cli.main import main
from cli.stack import Stack, StackError
from cli.webhooks import tenant_secret
from tests.contract.moto_stores import REGISTRY_TABLE, LocalAws
from tollgate.adapters.dynamodb.registry.webhooks import RegistryWebhookSecrets
from tollgate.domain.jobs.webhooks import secret_key


def _run(stack: Stack, capsys: pytest.CaptureFixture[str], *, rotate: bool = False, finish: bool = False) -> str:
    arguments = argparse.Namespace(tenant="acme", rotate=rotate, finish=finish)
    assert tenant_secret(stack, arguments) == 0
    return capsys.readouterr().out.strip()


def test_a_secret_is_made_kept_changed_and_settled(aws: LocalAws, capsys: pytest.CaptureFixture[str]) -> None:
    """Printed as receivers need it; while it changes over, calls are signed with both."""
    stack = Stack("tollgate", "us-east-1", {"RegistryTableName": REGISTRY_TABLE}, "arm64")
    stack.__dict__["tables"] = aws.dynamodb
    store = RegistryWebhookSecrets(aws.dynamodb, REGISTRY_TABLE)
    first = _run(stack, capsys)
    assert len(secret_key(first)) == 32
    assert _run(stack, capsys) == first
    second = _run(stack, capsys, rotate=True)
    assert list(store.of("acme")) == [second, first]
    assert _run(stack, capsys, finish=True) == second
    assert list(store.of("acme")) == [second]


def test_a_tenant_that_no_key_can_have_gets_no_secret(aws: LocalAws) -> None:
    """A slip of the pen would be signed with by nobody."""
    stack = Stack("tollgate", "us-east-1", {"RegistryTableName": REGISTRY_TABLE}, "arm64")
    stack.__dict__["tables"] = aws.dynamodb
    with pytest.raises(StackError, match="--tenant"):
        tenant_secret(stack, argparse.Namespace(tenant="acme/search", rotate=False, finish=False))


def test_the_command_is_declared(capsys: pytest.CaptureFixture[str]) -> None:
    """It is found under its name and asks for the tenant."""
    with pytest.raises(SystemExit):
        main(["webhooks", "secret"])
    assert "--tenant" in capsys.readouterr().err
