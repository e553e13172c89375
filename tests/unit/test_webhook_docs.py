"""The receiver's check in the guide accepts what is sent and nothing else."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.unit.template_document import ROOT
from tollgate.domain.jobs.webhooks import secret_text, signed_headers

SECRET, OTHER = secret_text(bytes(range(32))), secret_text(bytes(32))


@pytest.fixture
def is_genuine() -> Callable[[str, Mapping[str, str], bytes], bool]:
    text = (ROOT / "docs" / "webhooks.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 -- the guide's own code is what is tested
    checked: Callable[[str, Mapping[str, str], bytes], bool] = names["is_genuine"]
    return checked


def test_a_genuine_call_passes(is_genuine: Callable[..., bool]) -> None:
    """Also while the secret changes, with either secret."""
    headers = signed_headers([SECRET, OTHER], "inf_1", int(time.time()), b'{"a": 1}')
    assert is_genuine(SECRET, headers, b'{"a": 1}')
    assert is_genuine(OTHER, headers, b'{"a": 1}')


def test_forged_changed_and_old_calls_do_not(is_genuine: Callable[..., bool]) -> None:
    """Another secret, another body, another id, an old time."""
    now = int(time.time())
    headers = dict(signed_headers([SECRET], "inf_1", now, b"{}"))
    assert not is_genuine(OTHER, headers, b"{}")
    assert not is_genuine(SECRET, headers, b"{} ")
    assert not is_genuine(SECRET, headers | {"webhook-id": "inf_2"}, b"{}")
    assert not is_genuine(SECRET, signed_headers([SECRET], "inf_1", now - 3600, b"{}"), b"{}")
