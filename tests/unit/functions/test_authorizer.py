"""Keys at the gate."""

from datetime import timedelta

import pytest

from functions.authorizer.app import handle
from tests.fakes.clock import ManualClock
from tollgate.adapters.dynamodb.registry.keys import key_hash
from tollgate.domain.errors import AuthenticationError
from tollgate.domain.keys import KeyRecord
from tollgate.services.requests.authorize import REMEMBER_SECONDS, AuthorizationService

SECRET = "tg_" + "a" * 43
ARN = "arn:aws:execute-api:us-east-1:123456789012:abcdef/prod/POST/v1/inferences"


class Keys:
    """A key store that counts its reads."""

    def __init__(self, **records: KeyRecord) -> None:
        self.records = records
        self.reads = 0

    def find(self, key_hash: str) -> KeyRecord | None:
        self.reads += 1
        return self.records.get(key_hash)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def record(clock: ManualClock) -> KeyRecord:
    return KeyRecord("key_1", "acme", "search", frozenset({"infer", "read"}), clock.now())


def _service(clock: ManualClock, record: KeyRecord) -> tuple[AuthorizationService, Keys]:
    keys = Keys(**{key_hash(SECRET): record})
    return AuthorizationService(keys, clock, key_hash), keys


@pytest.mark.parametrize(
    "headers", [{"Authorization": f"Bearer {SECRET}"}, {"authorization": f"bearer {SECRET}"}, {"X-Api-Key": SECRET}]
)
def test_a_known_key_passes(headers: dict[str, str], clock: ManualClock, record: KeyRecord) -> None:
    """With tenant, scopes and the usage-plan key, and a policy for the whole stage."""
    answer = handle({"headers": headers, "methodArn": ARN}, _service(clock, record)[0])
    assert answer["context"] == {"tenant": "acme", "key_id": "key_1", "team": "search", "scopes": "infer read"}
    assert answer["usageIdentifierKey"] == key_hash(SECRET)
    statement = answer["policyDocument"]["Statement"][0]
    assert statement["Effect"] == "Allow"
    assert statement["Resource"] == "arn:aws:execute-api:us-east-1:123456789012:abcdef/prod/*"
    assert SECRET not in str(answer)


@pytest.mark.parametrize(
    "headers",
    [
        None,
        {},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {SECRET}"},
        {"x-api-key": "x" * 600},
        {"x-api-key": "tg_wrong"},
    ],
)
def test_everything_else_is_unauthorized(headers: dict[str, str] | None, clock: ManualClock, record: KeyRecord) -> None:
    """No key, an empty one, another scheme, an endless one, an unknown one."""
    with pytest.raises(AuthenticationError):
        handle({"headers": headers, "methodArn": ARN}, _service(clock, record)[0])


def test_a_hash_is_not_a_key(clock: ManualClock, record: KeyRecord) -> None:
    """Whoever reads the table or the usage plan cannot call the API with what is there."""
    with pytest.raises(AuthenticationError):
        handle({"headers": {"x-api-key": key_hash(SECRET)}, "methodArn": ARN}, _service(clock, record)[0])


def test_disabled_and_expired_keys_are_refused(clock: ManualClock, record: KeyRecord) -> None:
    """Expiry holds even while the key is remembered."""
    with pytest.raises(AuthenticationError):
        _service(clock, record._replace(disabled=True))[0].authorize(SECRET)
    service, _ = _service(clock, record._replace(expires_at=clock.now() + timedelta(seconds=10)))
    clock.advance(9.9)
    service.authorize(SECRET)
    clock.advance(0.1)
    with pytest.raises(AuthenticationError):
        service.authorize(SECRET)


def test_keys_are_remembered_for_a_minute(clock: ManualClock, record: KeyRecord) -> None:
    """One table read a minute, also for unknown keys."""
    service, keys = _service(clock, record)
    for _ in range(3):
        service.authorize(SECRET)
        with pytest.raises(AuthenticationError):
            service.authorize("tg_unknown")
    assert keys.reads == 2
    clock.advance(REMEMBER_SECONDS)
    service.authorize(SECRET)
    assert keys.reads == 3
    clock.advance(REMEMBER_SECONDS - 1)
    service.authorize(SECRET)
    assert keys.reads == 3


def test_guesses_do_not_fill_the_memory(clock: ManualClock, record: KeyRecord) -> None:
    """What is remembered is bounded; a key that was forgotten is read again."""
    service, keys = _service(clock, record)
    service.authorize(SECRET)
    for number in range(2_500):
        with pytest.raises(AuthenticationError):
            service.authorize(f"tg_{number}")
    assert len(service._remembered) <= 1_000
    service.authorize(SECRET)
    assert keys.reads == 2_502
