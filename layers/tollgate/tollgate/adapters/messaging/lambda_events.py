"""Events for another function of the stack, through Lambda's own queue: nothing has to be polled for them.

Lambda keeps an accepted event, gives it to the function at least once, tries a failed one again, and puts what failed
for good among the dead letters, with the error: the function's `EventInvokeConfig` in the template says how often.
https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tollgate.adapters.aws.call import AwsCall, AwsService
from tollgate.adapters.aws.retry import RetryPolicy
from tollgate.adapters.aws.translation import storage_errors
from tollgate.domain.json_values import json_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tollgate.adapters.aws.transport import AwsTransport


class LambdaEvents:
    """The `FunctionEvents` of AWS.

    Args:
        transport: that sends the call.
        function: name of the function.
    """

    def __init__(self, transport: AwsTransport, function: str) -> None:
        self._transport = transport
        self._function = function

    def send(self, event: Mapping[str, Any]) -> None:
        """See `FunctionEvents`. A send whose answer was lost is repeated, so that an event may come twice."""
        with storage_errors("function's queue"):
            self._transport.send(
                AwsCall(
                    service=AwsService.LAMBDA,
                    operation="Invoke",
                    path=f"/2015-03-31/functions/{self._function}/invocations",
                    headers=(("x-amz-invocation-type", "Event"),),
                    body=json_text(event).encode(),
                    retry=RetryPolicy.IDEMPOTENT,
                )
            )
