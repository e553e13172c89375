"""When a failed AWS call may be sent again, how long to wait first, and when to stop trying."""

import os
import threading
from enum import Enum

# Figures of botocore's "standard" retry mode (botocore/retries/standard.py, 1.44.5), so that both clients
# put the same load on a service in trouble.
_BUDGET_CAPACITY = 500
_COST_TRANSIENT = 14
_COST_THROTTLED = 5
_REFUND_WITHOUT_RETRY = 1
_MAX_BACKOFF_S = 20.0
_BASE_THROTTLED_S = 1.0
_BASE_TRANSIENT_S = 0.05
_BASE_TRANSIENT_DYNAMODB_S = 0.025
_RETRY_AFTER_MAX_EXTRA_S = 5.0
_RANDOM_BYTES = 7


class RetryPolicy(Enum):
    """What may be repeated without the caller knowing.

    `IDEMPOTENT`: running it twice does no harm; every transient failure and throttle is tried again.
    `UNPROCESSED`: only when the service cannot have acted on it: no connection could be made, the request
    was not sent whole, or the service said that it throttled it.
    `NEVER`: one attempt.
    """

    IDEMPOTENT = "idempotent"
    UNPROCESSED = "unprocessed"
    NEVER = "never"


class FailureKind(Enum):
    """How a failed attempt looks to the retry logic."""

    THROTTLED = "throttled"
    TRANSIENT = "transient"
    UNSENT = "unsent"
    FINAL = "final"


def may_retry(policy: RetryPolicy, kind: FailureKind) -> bool:
    """Whether `policy` allows another attempt after a failure of this kind."""
    if policy is RetryPolicy.NEVER or kind is FailureKind.FINAL:
        return False
    return policy is RetryPolicy.IDEMPOTENT or kind is not FailureKind.TRANSIENT


class RetryBudget:
    """A token bucket that stops retries when most calls are failing.

    A retry takes 14 tokens (5 after a throttle) out of 500; a success after a retry gives the last amount
    back, a success at the first attempt gives one. Thread safe.
    """

    __slots__ = ("_available", "_capacity", "_lock")

    def __init__(self, capacity: int = _BUDGET_CAPACITY) -> None:
        self._capacity = capacity
        self._available = capacity
        self._lock = threading.Lock()

    @property
    def available(self) -> int:
        """Tokens left."""
        return self._available

    def acquire(self, kind: FailureKind) -> int:
        """Take the tokens for one retry; the amount taken, or 0 when there are not enough."""
        amount = _COST_THROTTLED if kind is FailureKind.THROTTLED else _COST_TRANSIENT
        with self._lock:
            if amount > self._available:
                return 0
            self._available -= amount
        return amount

    def release(self, amount: int) -> None:
        """Give tokens back after a success; 0 stands for a success at the first attempt."""
        if self._available == self._capacity:
            return
        with self._lock:
            self._available = min(self._capacity, self._available + (amount or _REFUND_WITHOUT_RETRY))


def system_random() -> float:
    """A number in [0, 1) from the operating system.

    A generator of our own would carry one seed into every copy of a SnapStart snapshot, and all copies
    would then wait the same "random" time.
    """
    return int.from_bytes(os.urandom(_RANDOM_BYTES)) / (1 << (8 * _RANDOM_BYTES))


def backoff_s(attempt: int, kind: FailureKind, service: str, retry_after_ms: str | None, jitter: float) -> float:
    """Seconds to wait before attempt `attempt + 1`: truncated binary exponential back-off with full jitter.

    Args:
        attempt: the attempt that has just failed, from 1.
        kind: throttles start at 1 s, other failures at 50 ms (25 ms for DynamoDB).
        service: signing name of the service.
        retry_after_ms: value of the `x-amz-retry-after` header, which raises the wait by 5 s at most.
        jitter: a random number in [0, 1).
    """
    if kind is FailureKind.THROTTLED:
        base = _BASE_THROTTLED_S
    elif service == "dynamodb":
        base = _BASE_TRANSIENT_DYNAMODB_S
    else:
        base = _BASE_TRANSIENT_S
    delay: float = jitter * min(base * 2.0 ** (attempt - 1), _MAX_BACKOFF_S)
    if retry_after_ms is not None and retry_after_ms.isdecimal():
        delay = max(delay, min(int(retry_after_ms) / 1000, delay + _RETRY_AFTER_MAX_EXTRA_S))
    return delay
