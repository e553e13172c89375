"""The examples of the guide, run in its order."""

import re
from typing import Any

import pytest

from tests.local_stack import LocalStack
from tests.unit.template_document import ROOT

pytestmark = pytest.mark.e2e


def test_the_guides_examples_run(
    local_stack: LocalStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each prints what the text around it promises."""
    monkeypatch.setenv("TOLLGATE_URL", local_stack.url)
    monkeypatch.setenv("TOLLGATE_KEY", local_stack.key)
    names: dict[str, Any] = {}
    printed = []
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "openai.md").read_text("utf-8"), re.DOTALL):
        exec(code, names)  # noqa: S102 -- the guide's own code is what is tested
        printed.append(capsys.readouterr().out)
    names["client"].close()
    chat, flex, accepted, response, stream, streamed_response, conversation, several, embeddings, error = printed
    assert chat.strip()
    assert flex.startswith("three two one 0.")
    assert accepted.startswith("202 /v1/inferences/inf_")
    assert response == "three two one\n"
    assert "three two one" in stream
    assert "total_tokens=6" in stream
    assert streamed_response.endswith("three two one\n")
    assert conversation == "five four\n"
    assert several == "['two one', 'four three']\n"
    assert embeddings == "2 384\n"
    assert error == "unsupported_parameter n\n"


def test_the_examples_of_batches_run(
    local_stack: LocalStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A batch from its file to its answers, and an upload in two steps."""
    monkeypatch.setenv("TOLLGATE_URL", local_stack.url)
    monkeypatch.setenv("TOLLGATE_KEY", local_stack.key)
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "batches.md").read_text("utf-8"), re.DOTALL):
        exec(code, names)  # noqa: S102 -- the guide's own code is what is tested
    names["client"].close()
    printed = capsys.readouterr().out
    assert "review-0 three two one" in printed
    assert "review-1 staff friendly" in printed
    assert printed.endswith("reviews.jsonl\n")
