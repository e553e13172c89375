"""Who holds an API key."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tollgate.domain.errors import AuthenticationError
from tollgate.domain.keys import KeyRecord

if TYPE_CHECKING:
    # The authorizer stands before every request, and the other ports are a quarter of what it would have to import.
    from tollgate.ports.registry import KeyStore
    from tollgate.ports.system import Clock

REMEMBER_SECONDS = 60.0
"""How long a disabled key may still work in an execution environment that knows it."""

_MAX_REMEMBERED = 1000


class AuthorizationService:
    """Finds keys by the hash of their secret, and remembers found and unknown ones for a minute."""

    def __init__(self, keys: "KeyStore", clock: "Clock", hash_secret: Callable[[str], str]) -> None:
        self._keys = keys
        self._clock = clock
        self._hash = hash_secret
        self._remembered: dict[str, tuple[float, KeyRecord | None]] = {}

    def authorize(self, secret: str) -> tuple[str, KeyRecord]:
        """Hash and record of a valid key.

        Raises:
            AuthenticationError: unknown, disabled or expired; the three are not told apart.
            StorageError: the registry cannot be read.
        """
        hashed = self._hash(secret)
        record = self._find(hashed)
        now = self._clock.now()
        if record is None or record.disabled or (record.expires_at is not None and record.expires_at <= now):
            raise AuthenticationError("This API key is not valid.")
        return hashed, record

    def _find(self, hashed: str) -> KeyRecord | None:
        moment = self._clock.monotonic()
        known = self._remembered.get(hashed)
        if known is not None and moment - known[0] < REMEMBER_SECONDS:
            return known[1]
        record = self._keys.find(hashed)
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[hashed] = (moment, record)
        return record
