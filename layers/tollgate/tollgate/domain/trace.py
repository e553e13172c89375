"""W3C trace context, carried from the caller through queues and jobs to the end.

https://www.w3.org/TR/trace-context/
"""

import re

_TRACEPARENT = re.compile(r"^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$")
_XRAY_ROOT = re.compile(r"Root=1-([0-9a-f]{8})-([0-9a-f]{24})")


def continue_trace(traceparent: str | None, xray_header: str | None, *, random_hex: str) -> str:
    """The `traceparent` for our own part of the caller's trace.

    Args:
        traceparent: the caller's header; anything malformed is ignored, as the standard asks.
        xray_header: AWS's `X-Amzn-Trace-Id`, whose root becomes the trace id where the caller has none.
        random_hex: at least 48 hexadecimal digits for new ids.
    """
    span = random_hex[32:48]
    match = _TRACEPARENT.match((traceparent or "").strip().lower())
    if match and set(match[1]) != {"0"} and set(match[2]) != {"0"}:
        return f"00-{match[1]}-{span}-{match[3]}"
    root = _XRAY_ROOT.search(xray_header or "")
    trace = root[1] + root[2] if root else random_hex[:32]
    return f"00-{trace}-{span}-01"
