"""Clients' own results, such as query to chunks, kept for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tollgate.domain.cache.retrieval import KeptValue


class RetrievalStore(Protocol):
    """Values by tenant, namespace and key. Every method may raise StorageError."""

    def put(self, tenant: str, namespace: str, key: str, value: KeptValue) -> None:
        """Keep a value, instead of any that is there."""

    def get(self, tenant: str, namespace: str, key: str) -> KeptValue | None:
        """The value, which may have expired; None if there is none, or it is damaged."""

    def delete(self, tenant: str, namespace: str, key: str) -> None:
        """Forget a value; nothing happens if there is none."""
