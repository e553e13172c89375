"""What somebody else said, as callers and logs see it."""

from time import process_time

import pytest

from tollgate.domain.foreign_words import SHOWN_CHARACTERS, quoted

LONG = "Zx81" * 9


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Incorrect API key provided: abcd-1234, see the docs", "Incorrect API key provided: ***, see the docs"),
        ('{"api_key": "abcd", "limit": 3}', '{"api_key": "***", "limit": 3}'),
        ("X-Api-Key: abcd", "X-Api-Key: ***"),
        ("the access key 'abcd' is unknown", "the access key '***' is unknown"),
        ("sent Authorization: Bearer abcd; refused", "sent Authorization: ***; refused"),
        ("sent Authorization: Token abcd; refused", "sent Authorization: ***; refused"),
        (r'{"error": "{\"api_key\": \"abcd"}', r'{"error": "{\"api_key\": \"***"}'),
        ("-----BEGIN EC PRIVATE KEY-----\nab/c\nd+e\n-----END EC", "-----BEGIN EC PRIVATE KEY-----***-----END EC"),
        ("of -----BEGIN PRIVATE KEY-----\nab/c\nd+e", "of -----BEGIN PRIVATE KEY-----***"),
        ("the bearer abcd.1234 has expired", "the bearer *** has expired"),
        ("password=abcd", "password=***"),
        ("session_token=abcd x", "session_token=*** x"),
        ("GET https://me:abcd@example.com/x", "GET https://***@example.com/x"),
        ("https://s3/x?X-Amz-Signature=ab12&part=1", "https://s3/x?X-Amz-Signature=***&part=1"),
        ("role arn:aws:sts::123456789012:assumed-role/a/b may not", "role *** may not"),
        ("arn:aws:ssm:eu-west-1:123456789012:parameter/tollgate/providers/x", "***"),
        ("no parameter /tollgate/providers/x here", "no parameter *** here"),
        ("sk-proj-abcd1234 is revoked", "*** is revoked"),
        ("tg_abcd1234_efgh is unknown", "*** is unknown"),
        ("AKIAABCDEFGHIJKLMNOP", "***"),
        ("eyJhbGciOi.eyJzdWIi.abc-d", "***"),
        (f"key={LONG}.", "key=***."),
    ],
)
def test_secrets_are_left_out(said: str, shown: str) -> None:
    """Whoever sent them, and the words around them stay."""
    assert quoted(said) == shown


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is 4096 tokens; you asked for 5000 tokens: shorten the messages.",
        "Invalid API key. Please check",
        "bearer token required",
        "CUDA error: out of memory at /opt/ml/model/code/inference.py:12",
        "model us.anthropic.claude-3-5-sonnet-20241022-v2:0 is not there",
        "invalid value for parameter: temperature",
        "request 3f2504e0-4f89-11d3-9a0c-0305e82c3301 failed",
    ],
)
def test_what_helps_the_caller_stays(said: str) -> None:
    """Sentences that speak of keys and tokens without showing any."""
    assert quoted(said) == said


def test_known_secrets_are_found_whatever_they_look_like() -> None:
    """A key that looks like a word is one all the same; an empty one hides nothing."""
    assert quoted("the key is swordfish", ["", "swordfish"]) == "the key is ***"


def test_a_secret_is_not_cut_in_half() -> None:
    """Half of one would not be recognised."""
    said = "x" * (SHOWN_CHARACTERS - 4) + " sk-abcdefghijkl"
    assert quoted(said).endswith("x ***")
    assert len(quoted("word " * 1000)) == SHOWN_CHARACTERS
    assert quoted("word " * 1000, most=9) == "word word"


@pytest.mark.parametrize(
    "piece",
    [
        "api key ",
        "bearer ",
        "://a",
        "eyJaaaaa",
        "eyJ-",
        "-----BEGIN ",
        "secret \\\\",
        "a",
        "1",
        "_",
        "sk-",
        "a1",
        "parameter /",
    ],
)
def test_no_words_take_long(piece: str) -> None:
    """Whoever sends an error cannot keep the gateway busy with it."""
    quoted("warm")
    began = process_time()
    quoted(piece * (4_000_000 // len(piece)))
    assert process_time() - began < 0.5
