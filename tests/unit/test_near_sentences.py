"""Near matches of a model that compares whole questions: by their vectors, and never without."""

import base64

import pytest

from tests.unit.test_near_matches import BODY, FIRST, SECOND, Near
from tollgate.domain.near.policy import Likeness
from tollgate.domain.near.vector import packed_vector

THIRD = "What is the way to renew my passport in Geneva?"
VECTORS = {
    FIRST: packed_vector([1.0, 0.0, 0.1]),
    SECOND: packed_vector([1.0, 0.02, 0.1]),
    THIRD: packed_vector([0.3, 1.0, 0.1]),
}


class Sentences(Near):
    """A stack whose model compares by sentences; `asked` are the texts of which a vector was wanted."""

    def __init__(self) -> None:
        super().__init__(likeness=Likeness.SENTENCES)
        self.asked: list[str] = []
        self.gateway.sentences = self.vector
        self.gateway.likeness = lambda _one, _other: pytest.fail("words are not compared")

    def vector(self, text: str) -> bytes | None:
        self.asked.append(text)
        return VECTORS[text]


def test_a_question_is_found_by_its_vector() -> None:
    """Where nothing could be alike, no caller waits for a vector; the one that is filed is made afterwards."""
    stack = Sentences()
    stack.gateway.infer(BODY)
    assert stack.asked == []
    stack.deliver()
    assert stack.state_of(SECOND) == "near"
    assert stack.asked == [FIRST, SECOND]
    (filed,) = stack.index.filed.values()
    assert (filed.prompt, filed.vector) == (FIRST, VECTORS[FIRST])
    assert stack.runs == 1


def test_another_direction_is_another_question() -> None:
    """However many words they share."""
    stack = Sentences()
    assert [stack.state_of(text) for text in (FIRST, THIRD)] == ["miss", "miss"]


def test_rules_refuse_whatever_the_vectors_say() -> None:
    """Another number is another question, were the vectors the same."""
    stack = Sentences()
    stack.gateway.sentences = lambda _text: VECTORS[FIRST]
    assert stack.state_of("How do I renew my 2 passports in Geneva?") == "miss"
    assert stack.state_of("How do I renew my 3 passports in Geneva?") == "miss"


def test_without_a_vector_a_request_runs_as_after_any_miss() -> None:
    """It is filed once there is one: the function that files asks with more patience."""
    stack = Sentences()
    stack.gateway.sentences = lambda _text: None
    stack.gateway.infer(BODY)
    assert stack.gateway.filings[0]["vector"] == ""
    stack.gateway.sentences = stack.vector
    stack.deliver()
    assert stack.state_of(SECOND) == "near"


def test_a_lookup_without_a_vector_is_a_miss() -> None:
    """Though there is something to compare with."""
    stack = Sentences()
    stack.ask(FIRST)
    stack.gateway.sentences = lambda _text: None
    assert stack.state_of(SECOND) == "miss"


def test_what_has_no_vector_even_then_is_not_filed() -> None:
    """Nothing could be compared with it; the exact entry is there all the same."""
    stack = Sentences()
    stack.gateway.sentences = lambda _text: None
    assert [stack.state_of(FIRST), stack.state_of(FIRST)] == ["miss", "hit"]
    assert not stack.index.filed
    assert stack.telemetry.counts["CacheNearDown"] == 1


def test_a_prompt_that_was_filed_by_words_matches_nothing() -> None:
    """After a model has changed what it compares by, its older entries have no vector and are passed over."""
    stack = Sentences()
    stack.ask(FIRST)
    for name, filed in stack.index.filed.items():
        stack.index.filed[name] = type(filed)(
            filed.key, filed.context_key, filed.prompt, filed.made_ms, filed.expires_s
        )
    assert stack.state_of(SECOND) == "miss"


def test_no_tenant_is_given_what_another_asked() -> None:
    """The same vector under another key's tenant finds nothing."""
    stack = Sentences()
    stack.ask(FIRST)
    assert stack.state_of(SECOND, tenant="other") == "miss"


def test_an_order_brings_the_vector_as_text() -> None:
    """The one that its lookup made, through JSON: nothing makes it again."""
    stack = Sentences()
    stack.ask(FIRST)
    stack.gateway.infer(BODY | {"input": THIRD}, request_id="req-2")
    assert base64.b64decode(stack.gateway.filings[0]["vector"]) == VECTORS[THIRD]
    stack.deliver()
    assert stack.asked == [FIRST, THIRD]
