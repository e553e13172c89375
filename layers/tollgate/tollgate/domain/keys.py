"""API keys, as they are known after their secret was hashed."""

from datetime import datetime
from typing import NamedTuple


class KeyRecord(NamedTuple):
    """What is stored for an API key, under the hash of its secret."""

    key_id: str
    tenant: str
    team: str
    scopes: frozenset[str]
    created_at: datetime
    disabled: bool = False
    expires_at: datetime | None = None
