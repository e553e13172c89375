"""Writes the OpenAPI document to where the gateway serves it from, or checks that it is up to date."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from local.openapi.document import openapi_text

KEPT = Path(__file__).resolve().parents[2] / "layers" / "tollgate" / "tollgate" / "data" / "openapi.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code is 1 when the check finds another document than the code makes."""
    parser = argparse.ArgumentParser(prog="python -m local.openapi", description="The OpenAPI document.")
    parser.add_argument("--check", action="store_true", help="compare only")
    if not parser.parse_args(arguments).check:
        KEPT.write_text(openapi_text(), "utf-8")
        return 0
    if KEPT.read_text("utf-8") == openapi_text():
        return 0
    print("docs/openapi.json is not what the code makes. Run: make openapi", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
