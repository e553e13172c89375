"""Tells API Gateway who holds the key of a call."""

from functools import cache
from typing import Any

from tollgate.adapters.aws.transport import AwsTransport, TransportConfig
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.registry.keys import RegistryKeys, key_hash
from tollgate.adapters.system import SystemClock
from tollgate.api.authorizer_event import allow, presented_secret
from tollgate.domain.errors import AuthenticationError
from tollgate.services.requests.authorize import AuthorizationService
from tollgate.settings import Settings, aws_environment


class AuthorizerSettings(Settings):
    """Settings of this function."""

    table_registry: str


def build(settings: AuthorizerSettings) -> AuthorizationService:
    """Wire the service; nothing is connected before the first call."""
    transport = AwsTransport(TransportConfig.from_mapping(aws_environment()))
    transport.prepare()
    return AuthorizationService(
        RegistryKeys(DynamoDBClient(transport), settings.table_registry), SystemClock(), key_hash
    )


def handle(event: dict[str, Any], service: AuthorizationService) -> dict[str, Any]:
    """One authorization request.

    Raises:
        AuthenticationError: no key, or one that is not valid.
    """
    hashed, record = service.authorize(presented_secret(event))
    return allow(event, hashed, record)


@cache
def _service() -> AuthorizationService:
    return build(AuthorizerSettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Entry point. API Gateway answers 401 to exactly this message, and 500 to any other error."""
    try:
        return handle(event, _service())
    except AuthenticationError:
        raise Exception("Unauthorized") from None  # noqa: TRY002 -- API Gateway's documented contract


# Lambda imports the module by this name, and gives it more CPU now than for the first request.
if __name__ == "app":
    _service()
