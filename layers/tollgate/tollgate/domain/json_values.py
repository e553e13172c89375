"""JSON values as text that every store takes."""

import json
from typing import Any


def json_text(value: Any) -> str:
    """Compact JSON that can be written as UTF-8.

    Half of a surrogate pair, which JSON can spell and UTF-8 cannot, stays spelled as an escape.

    Raises:
        ValueError: the value contains NaN or an infinity, which JSON does not have.
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text
