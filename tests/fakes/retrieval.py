"""Clients' own results in memory."""

from tollgate.domain.cache.retrieval import KeptValue


class InMemoryRetrieval:
    """The `RetrievalStore` of tests."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str, str], KeptValue] = {}

    def put(self, tenant: str, namespace: str, key: str, value: KeptValue) -> None:
        self.values[tenant, namespace, key] = value

    def get(self, tenant: str, namespace: str, key: str) -> KeptValue | None:
        return self.values.get((tenant, namespace, key))

    def delete(self, tenant: str, namespace: str, key: str) -> None:
        self.values.pop((tenant, namespace, key), None)
