"""Secrets in SSM's Parameter Store.

https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from tollgate.adapters.aws.call import AwsCall, AwsService
from tollgate.adapters.aws.errors import AwsError
from tollgate.adapters.aws.retry import FailureKind, RetryPolicy
from tollgate.adapters.aws.transport import AwsTransport
from tollgate.domain.errors import BackendError, CapacityError
from tollgate.domain.json_values import compact_json
from tollgate.ports.system import Telemetry

_KEPT_SECONDS = 300.0
_READ_SECONDS = 5.0


class _Kept(NamedTuple):
    value: str
    until: float


class SecretParameters:
    """Reads SecureStrings and keeps them for five minutes.

    A secret that can just not be read again is used on: whoever it was replaced for says so soon enough.

    Args:
        transport: calls SSM.
        monotonic: seconds.
        telemetry: is told which parameter lacks its secret; callers are not.
    """

    def __init__(self, transport: AwsTransport, monotonic: Callable[[], float], telemetry: Telemetry) -> None:
        self._transport = transport
        self._monotonic = monotonic
        self._telemetry = telemetry
        self._kept: dict[str, _Kept] = {}

    def get(self, name: str, *, timeout_seconds: float) -> str:
        """The secret.

        Args:
            name: of the parameter.
            timeout_seconds: how long reading it may take, further attempts included.

        Raises:
            CapacityError: it cannot be read now.
            BackendError: it cannot be read, or nothing that could be sent is in it.
        """
        kept = self._kept.get(name)
        if kept is not None and self._monotonic() < kept.until:
            return kept.value
        try:
            return self._read(name, timeout_seconds)
        except CapacityError:
            if kept is None:
                raise
            return self._keep(name, kept.value)

    def known(self) -> Iterable[str]:
        """What nobody may be shown: the secrets that were read, and the names of their parameters."""
        return [text for name, kept in self._kept.items() for text in (kept.value, name)]

    def renewed(self, name: str, refused: str, *, timeout_seconds: float) -> str | None:
        """The secret if it is another than the one that was refused; raises as `get`."""
        value = self._read(name, timeout_seconds)
        return None if value == refused else value

    def _read(self, name: str, timeout_seconds: float) -> str:
        call = AwsCall(
            service=AwsService.SSM,
            operation="GetParameter",
            path="/",
            headers=(("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "AmazonSSM.GetParameter")),
            body=compact_json({"Name": name, "WithDecryption": True}).encode(),
            retry=RetryPolicy.IDEMPOTENT,
            read_timeout_s=_READ_SECONDS,
            time_limit_s=timeout_seconds,
        )
        try:
            answer = self._transport.send_for_object(call)
        except AwsError as error:
            if error.kind is FailureKind.FINAL:
                raise self._missing(name, error.code) from error
            raise CapacityError(
                f"The provider's key cannot be read now ({error.code}). Try again.", retry_after=5
            ) from error
        value = str(answer.get("Parameter", {}).get("Value", "")).strip()
        if not value or not value.isascii() or not value.isprintable():
            raise self._missing(name, "it holds nothing that could be sent")
        return self._keep(name, value)

    def _missing(self, name: str, reason: str) -> BackendError:
        self._telemetry.log("ERROR", "provider key cannot be used", parameter=name, reason=reason)
        return BackendError("The gateway has no key for this provider. Its log says which parameter lacks it.")

    def _keep(self, name: str, value: str) -> str:
        self._kept[name] = _Kept(value, self._monotonic() + _KEPT_SECONDS)
        return value
