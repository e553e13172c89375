"""The function that makes vectors of questions."""

import base64
import json
import sys

import pytest

from functions.sentences.app import handle
from tests.unit.template_document import ROOT
from tollgate.adapters.texts.sentence_model import SentenceModel, SentenceModelError


class _Lengths:
    """A model whose vectors are the length of a text."""

    def vector(self, text: str) -> bytes:
        return bytes([len(text)])


def test_a_text_becomes_a_vector() -> None:
    """What comes back is JSON, with the packed vector in base 64."""
    event = json.loads((ROOT / "events/sentences/text.json").read_text())
    answer = json.loads(json.dumps(handle(event, _Lengths())))
    assert base64.b64decode(answer["vector"]) == bytes([len(event["text"])])


def test_a_layer_without_the_model_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of what is missing."""
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(SentenceModelError, match="numpy"):
        SentenceModel()
