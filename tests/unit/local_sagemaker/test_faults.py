"""Failures on demand."""

import asyncio

import pytest

from local.sagemaker.faults import Fault, Faults
from local.sagemaker.wire import ServiceError


def test_a_fault_strikes_as_often_as_it_says() -> None:
    """A count is used up; without one a fault strikes for ever; other endpoints are left alone."""
    faults = Faults()
    faults.replace([Fault.parse({"op": "sns", "kind": "drop", "endpoint": "a-*", "count": 2})])
    assert faults.take("sns", "b", "drop") is None
    assert faults.take("invoke", "a-1", "drop") is None
    assert [bool(faults.take("sns", "a-1", "drop")) for _ in range(3)] == [True, True, False]
    faults.add([Fault.parse({"op": "*", "kind": "drop", "count": None})])
    assert all(faults.take("sns", "anything", "drop") for _ in range(20))


def test_an_error_carries_its_status_and_code() -> None:
    """An injected error is the error a client will see."""
    faults = Faults()
    faults.replace(
        [Fault.parse({"op": "invoke", "kind": "error", "status": 424, "code": "ModelError", "message": "m"})]
    )
    with pytest.raises(ServiceError) as raised:
        asyncio.run(faults.strike("invoke", "e"))
    assert (raised.value.status, raised.value.code) == (424, "ModelError")
    assert raised.value.members == {"OriginalStatusCode": 500, "OriginalMessage": "m"}
    asyncio.run(faults.strike("invoke", "e"))  # used up


@pytest.mark.parametrize("rule", [{"op": "invoke"}, {"op": "invoke", "kind": "nonsense"}, {"kind": "drop", "x": 1}, 5])
def test_a_rule_that_means_nothing_is_refused(rule: object) -> None:
    """A misspelt rule fails when it is given, not by never striking."""
    with pytest.raises(ServiceError):
        Fault.parse(rule)
