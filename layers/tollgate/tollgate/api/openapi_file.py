"""The OpenAPI document as it was built; `make openapi` writes it."""

from functools import cache
from pathlib import Path

_FILE = Path(__file__).resolve().parents[1] / "data" / "openapi.json"


@cache
def openapi_text() -> str:
    """The document's JSON."""
    return _FILE.read_text("utf-8")
