"""Credentials and Signature Version 4, both by awscrt."""

import hashlib
import threading

from awscrt.auth import AwsCredentialsProvider, AwsSigningConfig, aws_sign_request
from awscrt.http import HttpRequest

from tollgate.adapters.aws_http import CRT_ERRORS, ClientRuntime

# Fetching from the container endpoint (SnapStart) or the instance is a local call; more means it is broken.
_CREDENTIALS_TIMEOUT_S = 5.0


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
            service: signing name.

        Raises:
            CredentialsError: there are no credentials, or they could not be fetched in time.
        """
        config = AwsSigningConfig(
            credentials_provider=self._find_provider(),
            region=self._region,
            service=service,
            signed_body_value=hashlib.sha256(body).hexdigest(),
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
