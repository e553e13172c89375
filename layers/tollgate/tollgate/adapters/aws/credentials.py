"""Credentials and Signature Version 4, both by awscrt."""

import hashlib
import threading
from collections.abc import Mapping
from typing import Any

from awscrt.auth import (
    AwsCredentialsProvider,
    AwsSignatureType,
    AwsSignedBodyHeaderType,
    AwsSignedBodyValue,
    AwsSigningConfig,
    aws_sign_request,
)
from awscrt.http import HttpRequest

from tollgate.adapters.aws.http import CRT_ERRORS, ClientRuntime

# Fetching from the container endpoint (SnapStart) or the instance is a local call; more means it is broken.
_CREDENTIALS_TIMEOUT_S = 5.0
# S3 alone takes the path as it stands, since its keys may hold what looks like an escape or a double slash.
# https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
_S3_PATH: Mapping[str, Any] = {"use_double_uri_encode": False, "should_normalize_uri_path": False}
_S3_HEADERS: Mapping[str, Any] = {**_S3_PATH, "signed_body_header_type": AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256}
_QUERY: Mapping[str, Any] = {"signature_type": AwsSignatureType.HTTP_REQUEST_QUERY_PARAMS}
_S3_QUERY: Mapping[str, Any] = {**_S3_PATH, **_QUERY, "signed_body_value": AwsSignedBodyValue.UNSIGNED_PAYLOAD}
_EMPTY_QUERY: Mapping[str, Any] = {**_QUERY, "signed_body_value": AwsSignedBodyValue.EMPTY_SHA256}


class CredentialsError(Exception):
    """No provider of the chain has credentials."""


class RequestSigner:
    """Signs requests; finds the credentials on first use.

    On Lambda they are in the environment and stay valid as long as the execution environment lives, so they
    are read from it for every signature, which costs next to nothing and can never be out of date. With
    SnapStart, and outside Lambda, they come from AWS's default chain (profile, container, instance), which
    keeps them and fetches new ones before they expire.

    Args:
        region: signing region.
        runtime: connections for the providers that need any.
        provider: use this one and look no further.
    """

    def __init__(self, region: str, runtime: ClientRuntime, provider: AwsCredentialsProvider | None = None) -> None:
        self._region = region
        self._runtime = runtime
        self._provider = provider
        self._lock = threading.Lock()

    def sign(self, request: HttpRequest, body: bytes, service: str) -> None:
        """Add `x-amz-date`, `x-amz-security-token` where there is one, and `authorization`.

        Args:
            request: its path must be percent-encoded once.
            body: the whole body, hashed here because awscrt would read the stream through Python in pieces.
            service: signing name. With `s3` the rules are its own: the path is signed as it is, and the hash
                of the body is sent along, by which S3 also checks the body.

        Raises:
            CredentialsError: there are no credentials, or they could not be fetched in time.
        """
        body_hash = hashlib.sha256(body).hexdigest()
        self._sign(request, service, _S3_HEADERS if service == "s3" else {}, signed_body_value=body_hash)

    def presign(self, request: HttpRequest, service: str, *, expires_seconds: int) -> None:
        """Put the signature into the query of the request's path, so that the URL alone opens it.

        Args:
            request: without a body; its headers are those that must be sent as they are. The path is percent-encoded
                once.
            service: signing name. Only `s3` leaves open what body is sent.
            expires_seconds: how long the signature holds, a week at most; it ends with the credentials if
                those end sooner.

        Raises:
            CredentialsError: as `sign`.
        """
        rules = _S3_QUERY if service == "s3" else _EMPTY_QUERY
        self._sign(request, service, rules, expiration_in_seconds=expires_seconds)

    def _sign(self, request: HttpRequest, service: str, rules: Mapping[str, Any], **settings: Any) -> None:
        config = AwsSigningConfig(
            credentials_provider=self._find_provider(), region=self._region, service=service, **rules, **settings
        )
        try:
            aws_sign_request(request, config).result(_CREDENTIALS_TIMEOUT_S)
        except CRT_ERRORS as error:
            raise CredentialsError(f"cannot sign the request: {error!r}") from error

    def _find_provider(self) -> AwsCredentialsProvider:
        if self._provider is None:
            with self._lock:
                if self._provider is None:
                    self._provider = self._choose_provider()
        return self._provider

    def _choose_provider(self) -> AwsCredentialsProvider:
        environment = AwsCredentialsProvider.new_environment()
        try:
            environment.get_credentials().result(_CREDENTIALS_TIMEOUT_S)
        except CRT_ERRORS:
            # The default chain reads the root certificates, 5 to 15 ms, so it is the second choice.
            return AwsCredentialsProvider.new_default_chain(self._runtime.bootstrap())
        return environment
