"""Clients' own results: the same in memory and in DynamoDB."""

import pytest

from tests.contract.moto_stores import CACHE_TABLE, LocalAws
from tests.fakes.retrieval import InMemoryRetrieval
from tollgate.adapters.dynamodb.cache.retrieval import DynamoDBRetrieval
from tollgate.domain.cache.retrieval import KeptValue
from tollgate.ports.retrieval import RetrievalStore

VALUE = KeptValue([{"text": "é", "score": 0.1}, None], 1_000, 2_000)


@pytest.fixture(params=["memory", "dynamodb"])
def store(request: pytest.FixtureRequest) -> RetrievalStore:
    if request.param == "memory":
        return InMemoryRetrieval()
    aws: LocalAws = request.getfixturevalue("aws")
    return DynamoDBRetrieval(aws.dynamodb, CACHE_TABLE)


def test_a_value_comes_back_and_goes(store: RetrievalStore) -> None:
    """Kept, replaced, read, forgotten; forgetting twice does no harm."""
    store.put("acme", "chunks", "q", KeptValue("old", 1, 2))
    store.put("acme", "chunks", "q", VALUE)
    assert store.get("acme", "chunks", "q") == VALUE
    store.delete("acme", "chunks", "q")
    store.delete("acme", "chunks", "q")
    assert store.get("acme", "chunks", "q") is None


def test_names_cannot_be_cut_differently(store: RetrievalStore) -> None:
    """Neither another tenant nor another namespace, however the parts are put together."""
    store.put("a", "b#c", "d", VALUE)
    for tenant, namespace, key in (("a", "b", "c#d"), ("a#b", "c", "d"), ("A", "b#c", "d"), ("", "a", "b#cd")):
        assert store.get(tenant, namespace, key) is None


def test_a_damaged_value_is_none(aws: LocalAws) -> None:
    """A body that its checksum does not know, and one without."""
    store = DynamoDBRetrieval(aws.dynamodb, CACHE_TABLE)
    client = aws.boto3_client("dynamodb")
    for change in ({"expires": {"N": "99999"}}, {"body": {"B": b"x"}}, {"check": {"S": ""}}):
        store.put("acme", "chunks", "q", VALUE)
        (item,) = client.scan(TableName=CACHE_TABLE)["Items"]
        client.put_item(TableName=CACHE_TABLE, Item=item | change)
        assert store.get("acme", "chunks", "q") is None
