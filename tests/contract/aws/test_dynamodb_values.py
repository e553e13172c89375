"""Our conversion of values agrees with boto3's serializer, and both with what a table gives back."""

import http.server
import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

import boto3
import pytest
import requests
from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from tollgate.adapters.aws.errors import ConditionalCheckFailedError, TransactionCancelledError
from tollgate.adapters.aws.transport import AwsTransport, TransportConfig
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.transaction import TransactPut, TransactUpdate
from tollgate.adapters.dynamodb.values import from_attribute, to_attribute, to_attributes


@st.composite
def decimals(draw: st.DrawFn) -> Decimal:
    """Numbers over the whole range of DynamoDB's type: up to 38 digits."""
    digits = draw(st.integers(-(10**38) + 1, 10**38 - 1))
    exponent = draw(st.integers(-128 + 38, 87))
    return Decimal(digits).scaleb(exponent)


text = st.text(st.characters(codec="utf-8"), max_size=20)
names = st.text("abcdefÄ€😀-_. ", min_size=1, max_size=8)  # DynamoDB has no empty attribute names
scalars = st.one_of(
    text, st.integers(-(10**38) + 1, 10**38 - 1), decimals(), st.booleans(), st.none(), st.binary(max_size=20)
)
sets = st.one_of(
    st.sets(text, min_size=1, max_size=4),
    st.sets(st.integers(-(10**9), 10**9), min_size=1, max_size=4),
    st.sets(st.binary(max_size=5), min_size=1, max_size=4),
)
values = st.recursive(
    st.one_of(scalars, sets),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4)),
    max_leaves=12,
)


def unboxed(value: Any) -> Any:
    """boto3's result with its box for bytes taken off."""
    if isinstance(value, Binary):
        return value.value  # type: ignore[attr-defined]  # missing in the stubs
    if isinstance(value, list):
        return [unboxed(member) for member in value]
    if isinstance(value, dict):
        return {name: unboxed(member) for name, member in value.items()}
    if isinstance(value, set):
        return {unboxed(member) for member in value}
    return value


def canonical(attribute: Any) -> Any:
    """DynamoDB JSON with sets in order and bytes as they go over the wire."""
    if isinstance(attribute, bytes):
        return b64encode(attribute).decode()
    if isinstance(attribute, list):
        return [canonical(member) for member in attribute]
    if isinstance(attribute, dict):
        return {
            name: sorted(canonical(member)) if name in {"SS", "NS", "BS"} else canonical(member)
            for name, member in attribute.items()
        }
    return attribute


@given(values)
def test_same_attributes_as_boto3(value: Any) -> None:
    """Every value becomes the attribute that boto3 makes of it."""
    assert canonical(to_attribute(value)) == canonical(TypeSerializer().serialize(value))


@given(values)
def test_values_come_back(value: Any) -> None:
    """A value that went out comes back equal, through JSON, as boto3 would give it back."""
    attribute = json.loads(json.dumps(to_attribute(value)))
    assert from_attribute(attribute) == value
    assert from_attribute(attribute) == unboxed(TypeDeserializer().deserialize(TypeSerializer().serialize(value)))


@given(decimals())
def test_decimals_keep_every_digit(number: Decimal) -> None:
    """No digit of 38 is lost, whatever the exponent."""
    back = from_attribute(to_attribute(number))
    assert isinstance(back, Decimal)
    assert back.compare_total(number) == 0


@pytest.mark.parametrize(
    "value",
    [
        Decimal("NaN"),
        Decimal("Infinity"),
        Decimal("-Infinity"),
        Decimal("sNaN"),
        10**38,
        -(10**38) - 7,
        Decimal("1." + "1" * 38),
        Decimal("1E127"),
        Decimal("1E-150"),
        set(),
        frozenset(),
    ],
    ids=str,
)
def test_numbers_and_sets_that_cannot_be_stored(value: Any) -> None:
    """What DynamoDB would round or refuse is refused here."""
    with pytest.raises(ValueError, match="DynamoDB"):
        to_attribute(value)


@pytest.mark.parametrize("value", [0.1, [1.0], {"a": {"b": 2.5}}, {1.5}, {1, "a"}, {True}, object(), 1j])
def test_types_that_cannot_be_stored(value: Any) -> None:
    """Floats, mixed sets and foreign objects are refused, at any depth."""
    with pytest.raises(TypeError):
        to_attribute(value)


class Colour(StrEnum):
    """An enum of text."""

    RED = "red"


class Level(IntEnum):
    """An enum of numbers."""

    HIGH = 3


class Money(Decimal):
    """A subclass, as a caller may have one."""


@pytest.mark.parametrize(
    ("value", "attribute"),
    [
        (Colour.RED, {"S": "red"}),
        (Level.HIGH, {"N": "3"}),
        (Money("1.10"), {"N": "1.10"}),
        ((1, 2), {"L": [{"N": "1"}, {"N": "2"}]}),
        (True, {"BOOL": True}),
        ("", {"S": ""}),
        (b"", {"B": ""}),
        ({}, {"M": {}}),
        ([], {"L": []}),
        ({Decimal("1.0")}, {"NS": ["1.0"]}),
    ],
)
def test_values_of_special_types(value: Any, attribute: Any) -> None:
    """Subclasses and empty values become what their base would."""
    assert to_attribute(value) == attribute


def test_unknown_attribute_type() -> None:
    """An attribute type that does not exist is an error, not a wrong value."""
    for attribute in ({"X": 1}, {}):
        with pytest.raises(ValueError, match="unknown DynamoDB attribute type"):
            from_attribute(attribute)


class Bridge(http.server.BaseHTTPRequestHandler):
    """Hands each request to moto, which listens where `requests` would leave the process."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Pass on one call."""
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        answer = requests.post("https://dynamodb.us-east-1.amazonaws.com/", data=body, headers=headers, timeout=10)
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in {"content-length", "transfer-encoding", "date", "server"}:
                self.send_header(name, value)
        self.send_header("content-length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Say nothing."""


@pytest.fixture
def table() -> Iterator[tuple[DynamoDBClient, Any]]:
    """Our client and boto3's table resource on the same table in moto."""
    with mock_aws():
        theirs = boto3.resource("dynamodb", region_name="us-east-1").create_table(
            TableName="t",
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "N"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bridge)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        transport = AwsTransport(TransportConfig(region="us-east-1", dynamodb_endpoint=url))
        yield DynamoDBClient(transport), theirs
        transport.close()
        server.shutdown()
        server.server_close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values)
def test_stored_values_are_the_same_for_both_clients(table: Any, value: Any) -> None:
    """What one client writes the other reads, and the other way round."""
    own, theirs = table
    own.put_item("t", {"pk": "ours", "sk": 1, "value": value})
    assert unboxed(theirs.get_item(Key={"pk": "ours", "sk": 1})["Item"]["value"]) == value
    theirs.put_item(Item={"pk": "theirs", "sk": 1, "value": value})
    assert own.get_item("t", {"pk": "theirs", "sk": 1}) == {"pk": "theirs", "sk": Decimal(1), "value": value}


def test_life_of_an_item(table: Any) -> None:
    """Put, conditional put, update, delete and read, against a table that behaves."""
    own, _ = table
    key = {"pk": "a", "sk": 1}
    assert own.get_item("t", key) is None
    own.put_item("t", {**key, "n": 1})
    with pytest.raises(ConditionalCheckFailedError) as failed:
        own.put_item("t", key, condition="attribute_not_exists(pk)", return_item_on_failure=True)
    assert failed.value.item == {**key, "n": 1}
    changed = own.update_item("t", key, update="ADD n :two", values={":two": 2}, return_changed=True)
    assert changed == {"n": 3}
    own.delete_item("t", key)
    assert own.get_item("t", key, consistent=True) is None


def test_pages_of_a_query(table: Any) -> None:
    """Pages follow one another by their last key, in either direction, and counting leaves items out."""
    own, _ = table
    for number in range(5):
        own.put_item("t", {"pk": "a", "sk": number})
    seen: list[Decimal] = []
    start = None
    while True:
        page = own.query("t", key_condition="pk = :p", values={":p": "a"}, limit=2, forward=False, start_key=start)
        seen += [item["sk"] for item in page.items]
        start = page.last_key
        if start is None:
            break
    assert seen == [4, 3, 2, 1, 0]
    counted = own.query("t", key_condition="pk = :p", values={":p": "a"}, count_only=True)
    assert (counted.items, counted.item_count) == ((), 5)


def test_batch_read(table: Any) -> None:
    """Items that exist are found, the others left out; the number of keys is checked."""
    own, _ = table
    own.put_item("t", {"pk": "a", "sk": 1})
    assert own.batch_get_item({"t": [{"pk": "a", "sk": 1}, {"pk": "a", "sk": 2}]}) == {"t": [{"pk": "a", "sk": 1}]}
    for count in (0, 101):
        with pytest.raises(ValueError, match="1 to 100 keys"):
            own.batch_get_item({"t": [to_attributes({"pk": "a"})] * count})


def test_transaction_is_all_or_nothing(table: Any) -> None:
    """One false condition keeps the other write out and names itself."""
    own, _ = table
    own.put_item("t", {"pk": "guard", "sk": 0, "n": 1})
    change = TransactUpdate("t", {"pk": "guard", "sk": 0}, "SET n = :m", "n = :n", values={":m": 3, ":n": 2})
    with pytest.raises(TransactionCancelledError) as failed:
        own.transact_write_items([TransactPut("t", {"pk": "b", "sk": 1}), change])
    assert [reason.code for reason in failed.value.reasons] == ["None", "ConditionalCheckFailed"]
    assert failed.value.reasons[1].item == {"pk": "guard", "sk": 0, "n": 1}
    assert own.get_item("t", {"pk": "b", "sk": 1}) is None
    own.transact_write_items([TransactPut("t", {"pk": "b", "sk": 1})])
    assert own.get_item("t", {"pk": "b", "sk": 1}) == {"pk": "b", "sk": 1}
