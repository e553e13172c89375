"""The table of errors in the guide is complete."""

import re

from tests.unit.template_document import ROOT


def test_every_code_that_an_error_can_have_is_in_the_guide() -> None:
    """Those of the table in the code, and those that API Gateway answers by itself."""
    problems = (ROOT / "layers/tollgate/tollgate/api/problems.py").read_text()
    codes = set(re.findall(r'Problem\(\d+, "\w+", "(\w+)"', problems))
    codes |= set(re.findall(r'"code":"(\w+)"', (ROOT / "template.yaml").read_text()))
    assert {"invalid_request", "rate_limit_exceeded"} <= codes
    guide = (ROOT / "docs/requests.md").read_text().partition("## Errors")[2]
    assert sorted(code for code in codes if f"`{code}`" not in guide) == []
