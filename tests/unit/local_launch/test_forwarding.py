"""What the front door changes about a request, and what it leaves alone."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.launch.forwarding import HOP_BY_HOP, Target, client_secret, request_headers, response_headers

TARGET = Target("http://127.0.0.1:4567", "abc123", "local")
SECRET = "tg_made-up"
SEGMENTS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="?#/\\%"), max_size=8)


def sent(headers: list[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in request_headers(headers, "127.0.0.1", 4566)}


def test_a_path_and_its_query_arrive_as_they_were_written() -> None:
    """Escapes in path and query are neither resolved nor doubled."""
    assert TARGET.url("/v1/inferences/a%2Fb?after=x%3D%3D&limit=2") == (
        "http://127.0.0.1:4567/_aws/execute-api/abc123/local/v1/inferences/a%2Fb?after=x%3D%3D&limit=2"
    )


@pytest.mark.parametrize(
    "target",
    [
        "/../_ministack/reset",
        "/v1/%2e%2e/%2E%2e/x",
        "/v1/..%2f..%2f_ministack",
        "/v1\\..\\x",
        "http://elsewhere/v1",
        "*",
    ],
)
def test_a_target_that_leaves_the_api_is_refused(target: str) -> None:
    """Behind the API lies the emulator's administration, which no client may reach."""
    assert TARGET.url(target) is None


@given(st.lists(SEGMENTS.filter(lambda segment: segment != "..")))
def test_every_other_path_stays_below_the_api(segments: list[str]) -> None:
    """Whatever the segments are, the URL is the API's own base with the path behind it."""
    path = "/" + "/".join(segments)
    assert TARGET.url(path) == f"http://127.0.0.1:4567/_aws/execute-api/abc123/local{path}"


@pytest.mark.parametrize("header", [("Authorization", f"Bearer {SECRET}"), ("authorization", f"bearer  {SECRET} ")])
def test_a_bearer_token_becomes_the_usage_plans_key(header: tuple[str, str]) -> None:
    """The emulator gets the hash as x-api-key, as API Gateway gets it from the authorizer."""
    assert sent([header])["x-api-key"] == hashlib.sha256(SECRET.encode()).hexdigest()


def test_an_api_key_header_becomes_a_bearer_token_too() -> None:
    """The authorizer finds the secret in one place, and the secret itself is no usage-plan key."""
    headers = sent([("X-Api-Key", SECRET)])
    assert headers["authorization"] == f"Bearer {SECRET}"
    assert headers["x-api-key"] == hashlib.sha256(SECRET.encode()).hexdigest()


def test_a_request_without_a_key_gets_none() -> None:
    """The authorizer must see that there was no key."""
    assert not {"authorization", "x-api-key"} & set(sent([("Accept", "*/*")]))


def test_another_scheme_is_left_alone() -> None:
    """Basic credentials are not a Tollgate key; the authorizer refuses them itself."""
    assert sent([("Authorization", "Basic dXNlcg==")])["authorization"] == "Basic dXNlcg=="


def test_the_bearer_token_wins_over_the_api_key_header() -> None:
    """Both given: one rule, whatever their order."""
    both = [("x-api-key", "tg_other"), ("Authorization", f"Bearer {SECRET}")]
    assert client_secret(both) == client_secret(both[::-1]) == SECRET


@given(st.sampled_from(sorted(HOP_BY_HOP)))
def test_headers_of_one_connection_end_at_the_front_door(name: str) -> None:
    """Neither direction passes them on."""
    headers = [(name.title(), "x-secret-hop"), ("X-Secret-Hop", "1"), ("X-Kept", "1")]
    assert name not in sent(headers)
    assert name.title() not in dict(response_headers(headers))


def test_headers_that_connection_names_end_there_too() -> None:
    """RFC 9110: `Connection` lists further headers that belong to the connection."""
    assert "x-private" not in sent([("Connection", "close, X-Private"), ("X-Private", "1")])


def test_a_client_cannot_choose_its_address() -> None:
    """X-Forwarded-For is what the front door saw, not what the client wrote."""
    assert sent([("X-Forwarded-For", "203.0.113.7")])["x-forwarded-for"] == "127.0.0.1"
