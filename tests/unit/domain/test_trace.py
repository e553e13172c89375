"""W3C trace context."""

import pytest

from tollgate.domain.trace import continue_trace

HEX = "1234567890abcdef" * 3
TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_the_callers_trace_goes_on() -> None:
    """Same trace id and flags, a new span id."""
    assert continue_trace(f"00-{TRACE}-b7ad6b7169203331-00", None, random_hex=HEX) == f"00-{TRACE}-1234567890abcdef-00"


@pytest.mark.parametrize(
    "header", [None, "", "nonsense", f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{TRACE}-{'0' * 16}-01", "ff" * 500]
)
def test_a_malformed_header_starts_a_new_trace(header: str | None) -> None:
    """As the standard asks."""
    assert continue_trace(header, None, random_hex=HEX) == f"00-{HEX[:32]}-1234567890abcdef-01"


def test_xray_gives_the_trace_id_where_the_caller_has_none() -> None:
    """So that API Gateway's own trace and ours are one."""
    header = "Root=1-0af76519-16cd43dd8448eb211c80319c;Sampled=1"
    assert continue_trace(None, header, random_hex=HEX).split("-")[1] == TRACE
