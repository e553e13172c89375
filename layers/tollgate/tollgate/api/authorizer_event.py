"""REQUEST authorizer events, and the policy that goes back.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html
"""

from collections.abc import Mapping
from typing import Any

from tollgate.domain.errors import AuthenticationError
from tollgate.domain.keys import KeyRecord

_MAX_SECRET = 512


def presented_secret(event: Mapping[str, Any]) -> str:
    """The key in ``Authorization: Bearer`` or, without one, in ``x-api-key``.

    Raises:
        AuthenticationError: there is none.
    """
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    kind, _, bearer = str(headers.get("authorization") or "").partition(" ")
    secret = bearer.strip() if kind.lower() == "bearer" else str(headers.get("x-api-key") or "").strip()
    if not 0 < len(secret) <= _MAX_SECRET:
        raise AuthenticationError("Send the API key as 'Authorization: Bearer <key>' or as 'x-api-key: <key>'.")
    return secret


def allow(event: Mapping[str, Any], hashed: str, record: KeyRecord) -> dict[str, Any]:
    """A policy for the whole stage, so that it can be cached, with the usage-plan key and what the functions need.

    Scopes are checked where the routes are, for a denial here could not say why.
    """
    arn = str(event.get("methodArn", ""))
    stage = "/".join(arn.split("/")[:2])
    return {
        "principalId": record.key_id,
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": f"{stage}/*"}],
        },
        "context": {
            "tenant": record.tenant,
            "key_id": record.key_id,
            "team": record.team,
            "scopes": " ".join(sorted(record.scopes)),
        },
        "usageIdentifierKey": hashed,
    }
