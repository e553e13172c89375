"""Settings, endpoints and the arithmetic of retries, without a socket."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.adapters.aws.call import AwsService
from tollgate.adapters.aws.http import Endpoint
from tollgate.adapters.aws.retry import (
    FailureKind,
    RetryBudget,
    RetryPolicy,
    backoff_s,
    may_retry,
    system_random,
)
from tollgate.adapters.aws.transport import AwsTransport, TransportConfig


@pytest.mark.parametrize(
    ("region", "service", "url"),
    [
        ("eu-central-1", AwsService.DYNAMODB, "https://dynamodb.eu-central-1.amazonaws.com"),
        ("us-east-1", AwsService.SQS, "https://sqs.us-east-1.amazonaws.com"),
        ("us-east-1", AwsService.SAGEMAKER_RUNTIME, "https://runtime.sagemaker.us-east-1.amazonaws.com"),
        ("cn-north-1", AwsService.DYNAMODB, "https://dynamodb.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_public_endpoints(region: str, service: AwsService, url: str) -> None:
    """Without settings each service is at its region's public address."""
    assert TransportConfig(region).endpoint_url(service) == url


def test_endpoints_from_the_environment() -> None:
    """A service's own variable wins over the general one, an empty one counts as absent."""
    config = TransportConfig.from_mapping(
        {
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
            "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": "http://127.0.0.1:4599",
            "AWS_ENDPOINT_URL_SQS": "",
            "AWS_CA_BUNDLE": "roots.pem",
        }
    )
    assert config.region == "eu-west-1"
    assert config.endpoint_url(AwsService.DYNAMODB) == "http://127.0.0.1:4566"
    assert config.endpoint_url(AwsService.SQS) == "http://127.0.0.1:4566"
    assert config.endpoint_url(AwsService.SAGEMAKER_RUNTIME) == "http://127.0.0.1:4599"
    assert config.ca_file == "roots.pem"


def test_default_region() -> None:
    """AWS_DEFAULT_REGION stands in for AWS_REGION; without both there is no configuration."""
    assert TransportConfig.from_mapping({"AWS_DEFAULT_REGION": "us-east-1"}).region == "us-east-1"
    with pytest.raises(ValueError, match="AWS_REGION"):
        TransportConfig.from_mapping({})


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://sqs.eu-west-1.amazonaws.com", (True, "sqs.eu-west-1.amazonaws.com", 443, "", None)),
        ("http://127.0.0.1:4566/", (False, "127.0.0.1", 4566, "", "127.0.0.1:4566")),
        ("https://proxy:443/aws/", (True, "proxy", 443, "/aws", "proxy")),
        ("http://[::1]:8000/a/b", (False, "::1", 8000, "/a/b", "[::1]:8000")),
    ],
)
def test_endpoint_parts(url: str, endpoint: tuple[bool, str, int, str, str | None]) -> None:
    """A URL is taken apart; the host header names the port only when it is not the usual one."""
    secure, host, port, base_path, host_header = endpoint
    assert Endpoint.parse(url) == Endpoint(secure, host, port, host_header or host, base_path)


@pytest.mark.parametrize("url", ["ftp://host", "localhost:4566", "http://", ""])
def test_bad_endpoint(url: str) -> None:
    """What is no web address is refused when the transport is built, not at the first call."""
    with pytest.raises(ValueError, match="endpoint"):
        Endpoint.parse(url)
    if url:
        with pytest.raises(ValueError, match="endpoint"):
            AwsTransport(TransportConfig("us-east-1", sqs_endpoint=url))


@pytest.mark.parametrize(
    ("policy", "kinds"),
    [
        (RetryPolicy.IDEMPOTENT, {FailureKind.THROTTLED, FailureKind.TRANSIENT, FailureKind.UNSENT}),
        (RetryPolicy.UNPROCESSED, {FailureKind.THROTTLED, FailureKind.UNSENT}),
        (RetryPolicy.NEVER, set()),
    ],
)
def test_what_each_policy_repeats(policy: RetryPolicy, kinds: set[FailureKind]) -> None:
    """A failure that may have had an effect is repeated only where that does no harm; a final one never."""
    assert {kind for kind in FailureKind if may_retry(policy, kind)} == kinds


@given(st.lists(st.one_of(st.sampled_from([FailureKind.THROTTLED, FailureKind.TRANSIENT]), st.integers(0, 14))))
def test_budget_stays_within_its_bounds(steps: list[FailureKind | int]) -> None:
    """However retries and successes mix, the tokens stay between nothing and the capacity."""
    budget = RetryBudget(30)
    for step in steps:
        before = budget.available
        if isinstance(step, FailureKind):
            taken = budget.acquire(step)
            assert taken in {0, 5, 14}
            assert budget.available == before - taken
        else:
            budget.release(step)
            assert budget.available == min(30, before + (step or 1))
        assert 0 <= budget.available <= 30


def test_empty_budget_fills_again_with_successes() -> None:
    """After the tokens are gone, fourteen first-attempt successes pay for one retry."""
    budget = RetryBudget(14)
    assert budget.acquire(FailureKind.TRANSIENT) == 14
    assert budget.acquire(FailureKind.TRANSIENT) == 0
    for _ in range(14):
        budget.release(0)
    assert budget.acquire(FailureKind.TRANSIENT) == 14


@given(st.integers(1, 30), st.sampled_from(FailureKind), st.floats(0, 1, exclude_max=True))
def test_wait_is_bounded_and_proportional_to_the_jitter(attempt: int, kind: FailureKind, jitter: float) -> None:
    """Full jitter: from zero up to the doubled base, never beyond 20 seconds."""
    longest = backoff_s(attempt, kind, "sqs", None, 1.0)
    assert longest <= 20
    assert backoff_s(attempt, kind, "sqs", None, jitter) == pytest.approx(longest * jitter)


def test_wait_ignores_a_malformed_header() -> None:
    """A negative or wordy `x-amz-retry-after` changes nothing."""
    for header in ("-5", "soon", ""):
        assert backoff_s(1, FailureKind.TRANSIENT, "dynamodb", header, 1.0) == pytest.approx(0.025)


def test_jitter_spreads_and_has_no_seed() -> None:
    """Numbers lie in [0, 1), differ, and do not depend on the seeded generator."""
    numbers = [system_random() for _ in range(1000)]
    assert all(0 <= number < 1 for number in numbers)
    assert all(one != other for one, other in pairwise(numbers))
    assert 0.4 < sum(numbers) / len(numbers) < 0.6
