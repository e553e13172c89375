"""Trimming as a caller meets it: what is sent, what is said of it, and what is refused."""

import json
from copy import replace
from typing import Any

import pytest

from tests.fakes.gateway import FakeGateway, document
from tests.fakes.sizes import chat_answer, sized_catalogue
from tests.fakes.tokenizers import count_words
from tollgate.api.http import Answer
from tollgate.domain.catalogue import Catalogue
from tollgate.domain.errors import TokenizerError
from tollgate.domain.prompt import estimate_input_tokens
from tollgate.domain.token_rates import TokenizerFamily
from tollgate.domain.trimming.policy import InputBudget, TrimmingPolicy
from tollgate.domain.trimming.prompt_trimming import trim_input

FILLER = "We talked about the weather in the mountains, which was fine for walking, and about nothing else at all. "
FACT = "The invoice number of the turbine order is 4711-B."
TALK = [
    {"role": "system", "content": "You answer briefly."},
    {"role": "user", "content": FACT},
    {"role": "assistant", "content": "Noted."},
    *({"role": role, "content": f"{FILLER}{n}"} for n in range(10) for role in ("user", "assistant")),
    {"role": "user", "content": "What is the invoice number of the turbine order?"},
]
DOCUMENTS = [
    {"id": "a", "title": "Weather", "text": FILLER * 4},
    {"id": "b", "title": "Turbine order", "text": FACT},
    {"id": "c", "text": FILLER * 5},
]


def _gateway(catalogue: Catalogue | None = None) -> FakeGateway:
    gateway = FakeGateway(catalogue=catalogue or sized_catalogue(None))
    gateway.realtime.answer = chat_answer("4711-B.")
    return gateway


def _chat(gateway: FakeGateway, **fields: Any) -> Answer:
    body = {"model": "chat", "messages": TALK, "service_tier": "priority", **fields}
    return gateway.call("POST /v1/chat/completions", body)


def _sent(gateway: FakeGateway) -> dict[str, Any]:
    sent: dict[str, Any] = json.loads(gateway.realtime.calls[-1][1])
    return sent


def test_nobody_who_did_not_ask_is_trimmed() -> None:
    """And the answer says nothing of it."""
    gateway = _gateway()
    answer = _chat(gateway)
    assert _sent(gateway)["messages"] == TALK
    assert "x-tollgate-trimmed-tokens" not in answer.headers
    assert "trimmed" not in document(answer)


def test_the_relevant_turn_survives_and_the_report_adds_up() -> None:
    """System and last turns stay, the order is kept, and what was dropped is in the answer."""
    gateway = _gateway()
    answer = _chat(gateway, trim={"input_tokens": 120})
    kept = _sent(gateway)["messages"]
    assert [message for message in TALK if message in kept] == kept
    assert {"role": "user", "content": FACT} in kept
    assert TALK[0] in kept
    assert TALK[-1] in kept
    report = document(answer)["trimmed"]
    assert report["input_tokens_after"] <= 120 < report["input_tokens_before"]
    assert len(kept) + len(report["dropped_messages"]) == len(TALK)
    saved = report["input_tokens_before"] - report["input_tokens_after"]
    assert sum(entry["tokens"] for entry in report["dropped_messages"]) == saved
    assert answer.headers["x-tollgate-trimmed-tokens"] == str(saved)
    assert f";trimmed={saved}" in answer.headers["x-tollgate-route-reason"]
    line = next(line for line in gateway.lines if line.get("message") == "request")
    assert line["input_tokens_saved"] == saved


def test_more_documents_than_anybody_retrieves_are_refused() -> None:
    """To choose among them takes time by the square of their number, and the caller waits."""
    answer = _chat(_gateway(), documents=[FACT] * 2_001, trim={"documents_top_k": 3})
    assert (answer.status, document(answer)["error"]["param"]) == (400, "documents")


def test_every_message_is_counted_once() -> None:
    """Whatever counts: a tokenizer takes longest of all."""
    counted: list[str] = []

    def count(text: str) -> int:
        counted.append(text)
        return len(text.split())

    policy = TrimmingPolicy(input_tokens=60)
    _, report = trim_input({"messages": TALK}, policy, parameters={}, takes_documents=False, count_tokens=count)
    assert report.messages
    assert counted == [message["content"] for message in TALK]


def test_what_is_marked_keep_stays_and_the_mark_is_not_sent() -> None:
    """With trimming and without."""
    marked = [*TALK[:5], {**TALK[5], "keep": True}, *TALK[6:]]
    gateway = _gateway()
    _chat(gateway, messages=marked, trim={"input_tokens": 150})
    assert TALK[5] in _sent(gateway)["messages"]
    _chat(gateway, messages=marked)
    assert _sent(gateway)["messages"] == TALK


def test_a_budget_of_the_model_needs_no_asking() -> None:
    """On every route, also the native one and the preview."""
    gateway = _gateway(sized_catalogue(None, TrimmingPolicy(input_tokens=120)))
    assert document(_chat(gateway))["trimmed"]["input_tokens_after"] <= 120
    native = gateway.infer({"model": "chat", "input": TALK, "priority": "high"})
    assert document(native)["trimmed"]["input_tokens_after"] <= 120
    shown = gateway.call("POST /v1/route", {"model": "chat", "input": {"messages": TALK}, "priority": "high"})
    assert document(shown)["trimmed"]["dropped_messages"]


@pytest.mark.parametrize(
    ("key", "model", "holds"),
    [("key_1", "chat", True), ("*", "*", True), ("key_2", "chat", False), ("*", "echo", False)],
)
def test_a_budget_of_a_key_and_model(key: str, model: str, holds: bool) -> None:
    """It holds for that key's requests to that model; the tightest of several holds."""
    budgets = (InputBudget(key, model, 120), InputBudget("*", "*", 100_000))
    gateway = _gateway(replace(sized_catalogue(None), input_budgets=budgets))
    _chat(gateway)
    assert (len(_sent(gateway)["messages"]) < len(TALK)) is holds


def test_a_budget_of_somebody_else_changes_nothing() -> None:
    """What is sent is what was given, without marks."""
    budgets = (InputBudget("key_2", "chat", 120),)
    gateway = _gateway(replace(sized_catalogue(None), input_budgets=budgets))
    answer = _chat(gateway, messages=[{**TALK[0], "keep": True}, *TALK[1:]])
    assert _sent(gateway)["messages"] == TALK
    assert "trimmed" not in document(answer)


def _takes_documents(trimming: TrimmingPolicy | None) -> Catalogue:
    catalogue = sized_catalogue(None, trimming)
    model = catalogue.models["chat"]
    able = tuple(replace(d, supports=frozenset({"documents", "tools"})) for d in model.deployments)
    return replace(catalogue, models={**catalogue.models, "chat": replace(model, deployments=able)})


def test_a_budget_counts_documents_of_callers_who_did_not_ask_for_trimming() -> None:
    """They are trimmed as if the caller had asked, and sent where the container looks for them."""
    gateway = _gateway(_takes_documents(TrimmingPolicy(input_tokens=80)))
    answer = _chat(gateway, messages=TALK[-1:], documents=DOCUMENTS)
    assert document(answer)["trimmed"]["input_tokens_after"] <= 80
    assert _sent(gateway)["documents"] == [DOCUMENTS[1]]
    native = {"model": "chat", "priority": "high", "input": {"messages": TALK[-1:]}}
    gateway.infer(native | {"parameters": {"documents": DOCUMENTS}})
    assert _sent(gateway)["documents"] == [DOCUMENTS[1]]


@pytest.mark.parametrize("place", ["parameters", "input"])
@pytest.mark.parametrize("name", ["tools", "functions"])
def test_a_budget_counts_tools_wherever_they_are(name: str, place: str) -> None:
    """They are in the prompt, and cannot be dropped."""
    gateway = _gateway(_takes_documents(TrimmingPolicy(input_tokens=80)))
    body: dict[str, Any] = {"model": "chat", "priority": "high", "input": {"messages": TALK[-1:]}, "parameters": {}}
    body[place] = {**body[place], name: [{"type": "function", "function": {"name": "f", "description": FILLER * 9}}]}
    assert gateway.infer(body).status == 400
    assert not gateway.realtime.calls


def test_parameters_cannot_bring_another_conversation() -> None:
    """It would be sent instead of the input, past its budget."""
    gateway = _gateway(sized_catalogue(None, TrimmingPolicy(input_tokens=120)))
    body = {"model": "chat", "priority": "high", "input": TALK[-1:], "parameters": {"messages": TALK}}
    answer = gateway.infer(body)
    assert (answer.status, document(answer)["error"]["param"]) == (400, "parameters.messages")
    assert not gateway.realtime.calls


def test_a_caller_cannot_ask_for_more_than_the_budget() -> None:
    """The tightest one holds."""
    gateway = _gateway(sized_catalogue(None, TrimmingPolicy(input_tokens=120)))
    answer = _chat(gateway, trim={"input_tokens": 5000, "keep_last": 1})
    assert document(answer)["trimmed"]["input_tokens_after"] <= 120


def test_the_models_tokenizer_counts() -> None:
    """The same words cost more where the vocabulary is small."""
    sizes = []
    for family in (TokenizerFamily.CL100K, TokenizerFamily.LLAMA2):
        gateway = _gateway(sized_catalogue(None, TrimmingPolicy(input_tokens=100_000, tokenizer=family)))
        sizes.append(document(_chat(gateway))["trimmed"]["input_tokens_before"])
    assert sizes[0] < sizes[1]


def test_what_cannot_be_dropped_and_does_not_fit_is_refused() -> None:
    """Nothing is run."""
    gateway = _gateway()
    answer = _chat(gateway, trim={"input_tokens": 5})
    assert answer.status == 400
    assert "the budget is 5" in document(answer)["error"]["message"]
    long = gateway.infer({"model": "chat", "input": FILLER * 20, "priority": "high", "trim": {"input_tokens": 50}})
    assert long.status == 400
    assert gateway.realtime.calls == []


def test_tools_count_as_input() -> None:
    """Their schemas are sent with every request."""
    catalogue = sized_catalogue(None)
    model = catalogue.models["chat"]
    able = tuple(replace(d, supports=frozenset({"tools"})) for d in model.deployments)
    gateway = _gateway(replace(catalogue, models={**catalogue.models, "chat": replace(model, deployments=able)}))
    tool = {"type": "function", "function": {"name": "find", "description": FILLER * 3, "parameters": {}}}
    plain = document(_chat(gateway, trim={"input_tokens": 300}))["trimmed"]
    tooled = document(_chat(gateway, tools=[tool], trim={"input_tokens": 300}))["trimmed"]
    assert tooled["input_tokens_before"] > plain["input_tokens_before"] + 50
    assert len(tooled["dropped_messages"]) > len(plain["dropped_messages"])


class TestDocuments:
    """Retrieved chunks beside the messages."""

    def test_the_best_go_before_the_question(self) -> None:
        """Where the container does not take documents, as text in the last message of the user."""
        gateway = _gateway()
        answer = _chat(gateway, messages=TALK[-1:], documents=DOCUMENTS, trim={"documents_top_k": 1})
        (message,) = _sent(gateway)["messages"]
        assert message["content"] == f"[1] Turbine order\n{FACT}\n\n{TALK[-1]['content']}"
        dropped = document(answer)["trimmed"]["dropped_documents"]
        assert [(entry["id"], entry["reason"]) for entry in dropped] == [("a", "budget"), ("c", "budget")]

    def test_a_container_that_takes_documents_gets_them(self) -> None:
        """Where they were."""
        catalogue = sized_catalogue(None)
        model = catalogue.models["chat"]
        able = tuple(replace(d, supports=frozenset({"documents"})) for d in model.deployments)
        gateway = _gateway(replace(catalogue, models={**catalogue.models, "chat": replace(model, deployments=able)}))
        _chat(gateway, messages=TALK[-1:], documents=DOCUMENTS, trim={"documents_tokens": 60})
        assert _sent(gateway)["documents"] == [DOCUMENTS[1]]
        assert _sent(gateway)["messages"] == TALK[-1:]

    def test_one_container_that_takes_none_gets_them_as_text(self) -> None:
        """Whichever deployment answers in the end has to understand what is sent."""
        catalogue = sized_catalogue(None)
        model = catalogue.models["chat"]
        able = replace(model.deployments[0], supports=frozenset({"documents"}))
        mixed = replace(model, deployments=(able, *model.deployments[1:]))
        gateway = _gateway(replace(catalogue, models={**catalogue.models, "chat": mixed}))
        _chat(gateway, messages=TALK[-1:], documents=DOCUMENTS, trim={"documents_tokens": 60})
        assert "documents" not in _sent(gateway)
        assert FACT in _sent(gateway)["messages"][0]["content"]

    def test_they_share_the_budget_with_the_messages(self) -> None:
        """Neither takes everything."""
        gateway = _gateway()
        answer = _chat(gateway, documents=DOCUMENTS, trim={"input_tokens": 200})
        report = document(answer)["trimmed"]
        assert report["input_tokens_after"] <= 200
        assert FACT in _sent(gateway)["messages"][-1]["content"]
        assert report["dropped_messages"]

    def test_native_inputs_bring_them_inside(self) -> None:
        """Beside `messages`, or beside a text under `inputs`."""
        gateway = _gateway()
        question = TALK[-1]["content"]
        body = {"model": "chat", "priority": "high", "trim": {"documents_top_k": 1}}
        gateway.infer({**body, "input": {"inputs": question, "documents": DOCUMENTS}})
        assert _sent(gateway)["inputs"] == f"[1] Turbine order\n{FACT}\n\n{question}"

    def test_those_beside_a_text_are_counted_once(self) -> None:
        """And not with the text that they stand beside."""
        body = {"model": "chat", "priority": "high", "trim": {"documents_top_k": 1}}
        answer = _gateway().infer({**body, "input": {"inputs": TALK[-1]["content"], "documents": DOCUMENTS}})
        assert document(answer)["trimmed"]["input_tokens_after"] < 60

    def test_the_last_question_decides(self) -> None:
        """Documents may be plain texts; a question of several parts keeps its parts."""
        first = {"role": "user", "content": "How was the weather in the mountains for walking?"}
        parts = [{"type": "text", "text": TALK[-1]["content"]}]
        talk = [first, {"role": "assistant", "content": "Fine."}, {"role": "user", "content": parts}]
        given = {"messages": talk, "documents": [FILLER, FACT]}
        sent, _ = trim_input(given, TrimmingPolicy(documents_top_k=1), parameters={}, takes_documents=False)
        assert sent["messages"][-1]["content"] == [{"type": "text", "text": f"[1] {FACT}"}, *parts]

    @pytest.mark.parametrize("cut", [False, True])
    def test_they_are_cut_to_sentences_if_that_is_allowed(self, cut: bool) -> None:
        """Otherwise one that does not fit is left out as a whole."""
        gateway = _gateway()
        long = FILLER * 5 + FACT
        _chat(gateway, messages=TALK[-1:], documents=[long], trim={"documents_tokens": 60, "cut_sentences": cut})
        assert (FACT in _sent(gateway)["messages"][0]["content"]) is cut

    def test_a_kept_document_stays(self) -> None:
        """Whatever it is about."""
        gateway = _gateway()
        kept = [{**DOCUMENTS[0], "keep": True}, *DOCUMENTS[1:]]
        _chat(gateway, messages=TALK[-1:], documents=kept, trim={"documents_top_k": 0})
        assert _sent(gateway)["messages"][0]["content"].startswith("[1] Weather")

    @pytest.mark.parametrize("documents", ["text", [7], [{"title": "no text"}]])
    def test_other_forms_are_refused(self, documents: Any) -> None:
        """Naming the one at fault."""
        answer = _chat(_gateway(), documents=documents, trim={"documents_top_k": 1})
        assert answer.status == 400
        assert document(answer)["error"]["param"].startswith("documents")


def test_tool_results_stay_with_their_calls() -> None:
    """A provider rejects one without the other."""
    call = {"id": "c1", "type": "function", "function": {"name": "order", "arguments": '{"of": "turbine"}'}}
    talk = [
        *TALK[:3],
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "The turbine order has the invoice number 4711-B."},
        *TALK[3:],
    ]
    gateway = _gateway()
    for budget in range(60, 400, 20):
        _chat(gateway, messages=talk, trim={"input_tokens": budget})
        kept = _sent(gateway)["messages"]
        assert any("tool_calls" in message for message in kept) == any(message["role"] == "tool" for message in kept)


def test_a_job_keeps_what_is_sent() -> None:
    """The trimmed input, and the report in the answer that accepts it."""
    gateway = _gateway()
    answer = gateway.infer({"model": "chat", "input": TALK, "priority": "medium", "trim": {"input_tokens": 120}})
    assert answer.status == 202
    (job,) = gateway.jobs.jobs.values()
    assert len(job.input.inline) < len(TALK)
    assert document(answer)["trimmed"]["input_tokens_after"] <= 120
    assert ";trimmed=" in job.route_reason


def test_long_inputs_are_estimated_from_their_ends() -> None:
    """Within a few percent of counting everything, for text of one kind."""
    text = FILLER * 2_000
    assert estimate_input_tokens(text) == pytest.approx(2_000 * estimate_input_tokens(FILLER), rel=0.05)
    assert estimate_input_tokens({"messages": TALK}) == pytest.approx(
        sum(estimate_input_tokens(m) for m in TALK), rel=0.2
    )
    assert estimate_input_tokens({}) == 1


OWN = "tokenizers/chat.json"


def test_a_models_own_tokenizer_counts_exactly() -> None:
    """The budget holds in its tokens, the reason says so, and the estimate of the cost is made with that count."""
    policy = TrimmingPolicy(input_tokens=60, tokenizer_file=OWN)
    gateway = _gateway(sized_catalogue(None, trimming=policy))
    gateway.tokenizers.counters[OWN] = count_words
    answer = _chat(gateway)
    told = document(answer)["trimmed"]
    assert told["input_tokens_after"] <= 60
    texts = [message["content"] for message in _sent(gateway)["messages"]]
    assert sum(map(count_words, texts)) <= 60
    assert ";tokens=exact" in answer.headers["x-tollgate-route-reason"]


def test_without_its_tokenizer_the_upper_bound_holds_the_budget() -> None:
    """Where the file or the library is missing, less is sent than by the plain estimate, and the reason says why."""
    gateways = [
        _gateway(sized_catalogue(None, trimming=TrimmingPolicy(input_tokens=200, tokenizer_file=file)))
        for file in ("", OWN)
    ]
    plain, bounded = (_chat(gateway) for gateway in gateways)
    assert len(_sent(gateways[1])["messages"]) < len(_sent(gateways[0])["messages"])
    assert ";tokens=upper_bound" in bounded.headers["x-tollgate-route-reason"]
    assert ";tokens=" not in plain.headers["x-tollgate-route-reason"]


def test_a_tokenizer_that_fails_is_as_good_as_none() -> None:
    """One word that it cannot take, and all of the request is bounded by the estimate."""

    def fails_at_last(text: str) -> int:
        if TALK[-1]["content"] in text:
            raise TokenizerError("panicked")
        return count_words(text)

    answers = []
    for counters in ({}, {OWN: fails_at_last}):
        gateway = _gateway(sized_catalogue(None, trimming=TrimmingPolicy(input_tokens=200, tokenizer_file=OWN)))
        gateway.tokenizers.counters |= counters
        answers.append((_chat(gateway), _sent(gateway)))
    (without, sent_without), (failing, sent_failing) = answers
    assert failing.status == 200
    assert failing.headers["x-tollgate-route-reason"] == without.headers["x-tollgate-route-reason"]
    assert sent_failing == sent_without


def test_a_caller_cannot_name_a_tokenizer() -> None:
    """Which file a model is counted by is the owner's to say."""
    answer = _chat(_gateway(), trim={"input_tokens": 60, "tokenizer_file": OWN})
    assert answer.status == 400


@pytest.mark.parametrize("calls", [5, True, "abc", {"id": "1"}])
def test_calls_that_are_no_list_are_none(calls: Any) -> None:
    """A container may know what they are; trimming does not have to."""
    odd = [{"role": "assistant", "content": "a", "tool_calls": calls}, {"role": "user", "content": "b"}]
    assert _chat(_gateway(), messages=odd, trim={"input_tokens": 500}).status == 200


def test_more_messages_than_a_report_has_room_for_are_refused_at_once() -> None:
    """The report of all that were dropped would not fit into the answer, which would be paid for by then."""
    gateway = _gateway()
    many = [{"role": "user", "content": "a"}] * 10_001
    answer = _chat(gateway, messages=many, trim={"input_tokens": 500})
    assert (answer.status, document(answer)["error"]["param"]) == (400, "messages")
    assert gateway.realtime.calls == []


def test_items_of_a_response_can_be_kept() -> None:
    """Messages and calls with what they gave; the mark is not sent."""
    call = {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": '{"what": "ducks"}', "keep": True}
    items = [
        {"role": "user", "content": f"{FILLER} Ducks like rain.", "keep": True},
        {"role": "user", "content": f"{FILLER} Geese do, too."},
        call,
        {"type": "function_call_output", "call_id": "c1", "output": "Ducks like rain, says the almanac."},
        {"role": "user", "content": f"{FILLER} My invoice?"},
        *({"role": role, "content": "What is the number?"} for role in ("assistant", "user")),
    ]
    gateway = _gateway()
    body = {"model": "chat", "input": items, "service_tier": "priority", "trim": {"input_tokens": 90}}
    answer = gateway.call("POST /v1/responses", body)
    assert answer.status == 200, answer.body
    sent = _sent(gateway)["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "assistant", "user"]
    assert sent[0]["content"].endswith("Ducks like rain.")
    assert not any("keep" in message for message in sent)


@pytest.mark.parametrize("mark", ["yes", 1, [True]])
def test_a_mark_that_is_no_boolean_is_refused(mark: Any) -> None:
    """Its message would be dropped without a word; `null` is none."""
    odd = [{"role": "user", "content": "a", "keep": mark}, TALK[-1]]
    refused = document(_chat(_gateway(), messages=odd, trim={"input_tokens": 500}))["error"]
    assert refused["param"] == "messages[0].keep"
    documents = [{"text": "a", "keep": mark}]
    refused = document(_chat(_gateway(), messages=TALK[-1:], documents=documents, trim={}))["error"]
    assert refused["param"] == "documents[0].keep"
    odd[0]["keep"] = None
    assert _chat(_gateway(), messages=odd, trim={"input_tokens": 500}).status == 200
