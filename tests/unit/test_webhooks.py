"""Where webhooks may go, how they are signed, and when they are repeated."""

import base64
import hashlib
import hmac
import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.jobs.webhooks import (
    LONGEST_WAIT_SECONDS,
    MAX_ATTEMPTS,
    Networks,
    WebhookUrl,
    check_webhook_url,
    may_reach,
    parse_networks,
    secret_key,
    secret_text,
    signed_headers,
    wait_before_next,
)

OWN = parse_networks("127.0.0.0/8, fd00::/8")
SECRET = secret_text(bytes(range(32)))
CLOSED_IPV4 = [
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/29", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
    *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32"),
]
CLOSED_IPV6 = [
    *("::/128", "::1/128", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:db8::/32"),
    *("2002::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "::ffff:0:0/96"),
]


def _inside(network: str) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    whole = ip_network(network)
    return st.integers(int(whole.network_address), int(whole.broadcast_address)).map(
        IPv4Address if whole.version == 4 else IPv6Address
    )


@given(address=st.sampled_from(CLOSED_IPV4 + CLOSED_IPV6).flatmap(_inside))
def test_no_address_of_a_closed_network_is_reached(address: IPv4Address | IPv6Address) -> None:
    """Private, loopback, link-local, shared, documentation, multicast and reserved addresses, and IPv4 inside IPv6."""
    assert not may_reach(address)


@given(address=st.integers(0, 2**32 - 1).map(IPv4Address))
def test_an_ipv4_address_in_ipv6_clothes_is_never_reached(address: IPv4Address) -> None:
    """Mapped, compatible, NAT64 and 6to4 forms of any address, public ones too."""
    number = int(address)
    for prefix in ("::ffff:0:0", "::", "64:ff9b::"):
        assert not may_reach(IPv6Address(int(IPv6Address(prefix)) + number))
    assert not may_reach(IPv6Address(int(IPv6Address("2002::")) + (number << 80)))


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e"])
def test_public_addresses_are_reached(address: str) -> None:
    """The guard is not simply closed."""
    assert may_reach(ip_address(address))


def test_the_operators_own_networks_are_reached() -> None:
    """An allowed network opens itself and nothing beside it."""
    assert may_reach(ip_address("127.0.0.1"), OWN)
    assert may_reach(ip_address("fd12::1"), OWN)
    assert not may_reach(ip_address("10.0.0.1"), OWN)
    assert not may_reach(ip_address("::ffff:127.0.0.1"), OWN)


@given(number=st.integers(0, 2**32 - 1))
def test_a_literal_address_passes_as_a_url_exactly_if_it_may_be_reached(number: int) -> None:
    """Admission and delivery judge alike."""
    address = IPv4Address(number)
    try:
        check_webhook_url(f"https://{address}/hook")
    except InvalidRequestError:
        assert not may_reach(address)
    else:
        assert may_reach(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/x",
        "http://hooks.example.com:8080/x",
        "http://hooks.example.com:443/x",
        "ftp://hooks.example.com/x",
        "https://user:secret@hooks.example.com/x",
        "https://user@hooks.example.com/x",
        "https://hooks.example.com/x#part",
        "https://hooks.example.com/a b",
        "https://hooks.example.com\\@10.0.0.1/",
        "https://hooks.example.com/\r\nHost: other",
        "https://höoks.example.com/",
        "https://hooks.example.com:22/",
        "https://hooks.example.com:1023/",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:99999/",
        "https://hooks.example.com:port/",
        "https:///path",
        "https://",
        "hooks.example.com/x",
        "",
        "https://localhost/",
        "https://service.internal/",
        "https://printer.local/",
        "https://intranet/",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[::ffff:8.8.8.8]/",
        "https://[64:ff9b::8.8.8.8]/",
        "https://2130706433/",
        "https://0x7f.0.0.1/",
        "https://127.0.0.0x1/",
        "https://./",
        "https://hooks.example.com%2f/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://hooks.example.1/",
        "https://%31%32%37.0.0.1/",
        "https://hooks.example.com/" + "x" * 2048,
    ],
)
def test_urls_that_are_refused_at_admission(url: str) -> None:
    """The caller hears of it before anything is queued, and which field is at fault."""
    with pytest.raises(InvalidRequestError) as caught:
        check_webhook_url(url)
    assert caught.value.param == "webhook_url"


def test_the_parts_of_a_good_url() -> None:
    """Host and port as they are connected to, target and Host header as they are sent."""
    url = check_webhook_url("https://Hooks.Example.com:8443/in?token=a%20b")
    assert (url.secure, url.host, url.port, url.target) == (True, "hooks.example.com", 8443, "/in?token=a%20b")
    assert url.host_header == "hooks.example.com:8443"
    assert check_webhook_url("https://hooks.example.com").host_header == "hooks.example.com"
    assert check_webhook_url("https://[2606:4700:4700::1111]/").host_header == "[2606:4700:4700::1111]"


def test_own_networks_may_use_http_and_any_port() -> None:
    """What the operator allowed is reached as it is; the rest keeps its rules."""
    assert check_webhook_url("http://127.0.0.1:81/x", OWN).port == 81
    assert not check_webhook_url("http://localhost/x", OWN).secure
    with pytest.raises(InvalidRequestError):
        check_webhook_url("http://10.0.0.1/x", OWN)
    with pytest.raises(InvalidRequestError):
        check_webhook_url("http://8.8.8.8/x", OWN)


@given(text=st.text(max_size=60))
def test_any_text_is_either_a_url_or_refused_politely(text: str) -> None:
    """No input makes the check fail in another way, and what passes is safe to put on a request line."""
    for candidate in (text, f"https://{text}", f"https://example.com/{text}"):
        try:
            url = check_webhook_url(candidate)
        except InvalidRequestError:
            continue
        assert url.secure
        assert f"{url.host}{url.target}".isascii()
        assert f"{url.host}{url.target}".isprintable()
        assert " " not in url.target


@pytest.mark.parametrize(
    ("url", "networks", "parts", "header"),
    [
        ("https://a.example/x?y=~", (), (True, "a.example", 443, "/x?y=~"), "a.example"),
        ("https://a.example", (), (True, "a.example", 443, "/"), "a.example"),
        ("https://a.example:1024?q", (), (True, "a.example", 1024, "/?q"), "a.example:1024"),
        ("https://[2606:4700:4700::1111]:8443/", (), (True, "2606:4700:4700::1111", 8443, "/"), None),
        ("http://127.0.0.1/x", OWN, (False, "127.0.0.1", 80, "/x"), "127.0.0.1"),
        ("http://127.0.0.1:443/x", OWN, (False, "127.0.0.1", 443, "/x"), "127.0.0.1:443"),
        ("https://127.0.0.1:1/x", OWN, (True, "127.0.0.1", 1, "/x"), "127.0.0.1:1"),
        ("https://127.0.0.1:80/x", OWN, (True, "127.0.0.1", 80, "/x"), "127.0.0.1:80"),
        ("https://" + "a" * 12 + ".example/" + "x" * 2019, (), None, None),
    ],
)
def test_urls_come_apart(
    url: str, networks: Networks, parts: tuple[bool, str, int, str] | None, header: str | None
) -> None:
    """Ports above 1023 are open, and in the operator's own networks all are, over http too; 2,048 characters fit."""
    found = check_webhook_url(url, networks)
    assert parts is None or found == WebhookUrl(*parts)
    assert header is None or found.host_header == header


def test_keys_have_24_to_64_bytes() -> None:
    """Neither fewer nor more."""
    for size in (23, 65):
        with pytest.raises(ValueError, match="24 to 64 bytes"):
            secret_key(secret_text(bytes(size)))


@pytest.mark.parametrize("text", ["10.0.0.1/8", "nonsense", "10.0.0.0/33"])
def test_wrong_networks_are_noticed(text: str) -> None:
    """A slip in the parameter stops the function from starting instead of opening something."""
    with pytest.raises(ValueError, match=re.escape(text)):
        parse_networks(text)


def test_no_networks_from_an_empty_parameter() -> None:
    """The template's default allows public addresses only."""
    assert parse_networks("") == ()
    assert parse_networks(" , ") == ()


@given(key=st.binary(min_size=24, max_size=64))
def test_secrets_survive_their_text_form(key: bytes) -> None:
    """What is stored is what signs."""
    assert secret_key(secret_text(key)) == key


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!", SECRET.removeprefix("whsec_")])
def test_malformed_secrets_are_refused_without_repeating_them(secret: str) -> None:
    """A message that may reach a log does not hold the secret."""
    with pytest.raises(ValueError, match="whsec_ and base64") as caught:
        secret_key(secret)
    assert not secret or secret not in str(caught.value) or secret == "whsec_"


@given(body=st.binary(max_size=200), timestamp=st.integers(0, 2**33))
def test_a_receiver_can_verify_the_signature(body: bytes, timestamp: int) -> None:
    """Recomputed here as the specification of Standard Webhooks describes it to receivers."""
    headers = signed_headers([SECRET], "inf_1", timestamp, body)
    signed = headers["webhook-id"].encode() + b"." + headers["webhook-timestamp"].encode() + b"." + body
    expected = hmac.new(base64.b64decode(SECRET.split("_")[1]), signed, hashlib.sha256).digest()
    version, _, signature = headers["webhook-signature"].partition(",")
    assert (version, base64.b64decode(signature)) == ("v1", expected)


def test_the_specifications_own_example_is_reproduced() -> None:
    """Secret, id, time and body from the test vectors of the Standard Webhooks libraries."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = signed_headers([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_secrets_give_two_signatures() -> None:
    """While a tenant changes over, old and new receivers both find theirs."""
    other = secret_text(bytes(32))
    both = signed_headers([SECRET, other], "inf_1", 1, b"{}")["webhook-signature"].split(" ")
    assert both == [signed_headers([s], "inf_1", 1, b"{}")["webhook-signature"] for s in (SECRET, other)]


def test_nothing_is_sent_unsigned() -> None:
    """Without a secret there are no headers."""
    with pytest.raises(ValueError, match="no secret"):
        signed_headers([], "inf_1", 1, b"{}")


@given(
    attempt=st.integers(1, MAX_ATTEMPTS - 1),
    fraction=st.floats(0, 1),
    retry_after=st.none() | st.integers(0, 10**9),
)
def test_waits_grow_and_stay_within_what_the_queue_can_hide(
    attempt: int, fraction: float, retry_after: int | None
) -> None:
    """Never at once, never beyond SQS's 12 hours, never before the receiver wants it."""
    wait = wait_before_next(attempt, fraction, retry_after)
    assert wait is not None
    assert 1 <= wait <= LONGEST_WAIT_SECONDS
    assert wait >= min(retry_after or 0, LONGEST_WAIT_SECONDS)
    plain = wait_before_next(attempt, fraction)
    assert plain is not None
    assert plain <= wait


def test_eight_attempts_over_some_hours() -> None:
    """The planned waits, at their longest and shortest."""
    longest = [wait_before_next(attempt, 1.0) for attempt in range(1, MAX_ATTEMPTS + 1)]
    assert longest == [5, 20, 80, 320, 1280, 5120, 7200, None]
    shortest = [wait_before_next(attempt, 0.0) or 0 for attempt in range(1, MAX_ATTEMPTS + 1)]
    assert 3600 < sum(shortest) < 4 * 3600
