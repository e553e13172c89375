"""Fixtures of the contract tests."""

from tests.contract.moto_stores import _server, aws

__all__ = ["_server", "aws"]
