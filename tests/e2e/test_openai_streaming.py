"""Truly incremental answers: the unmodified `openai` package against the real streaming function.

The emulator's API Gateway cannot stream, so the front door calls the function itself: see `local/streaming/front.py`.
"""

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionUserMessageParam

from local.launch.front_door import STREAMING_PREFIX
from tests.local_stack import LocalStack

pytestmark = pytest.mark.e2e

PACE_SECONDS = 0.3
# The SDK knows no service tier for plain completions.
PRIORITY = {"service_tier": "priority"}


def _said(text: str) -> list[ChatCompletionUserMessageParam]:
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def client(local_stack: LocalStack) -> Iterator[OpenAI]:
    base = f"{local_stack.url}{STREAMING_PREFIX}/v1"
    with OpenAI(base_url=base, api_key=local_stack.key, timeout=60, max_retries=0) as made:
        # The first call starts an execution environment.
        made.chat.completions.create(model="echo", messages=_said("hello"), service_tier="priority")
        yield made


def _records(stack: LocalStack) -> list[dict[str, Any]]:
    """The canonical log lines of the streaming function, oldest first."""
    lines = (stack.layout.logs / "streaming.log").read_text().splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return [line for line in found if line.get("message") == "request"]


def test_chunks_arrive_while_the_model_works(client: OpenAI) -> None:
    """The first words are there long before the last."""
    text = f"one two three four five six _pace={PACE_SECONDS}"
    began, arrived, words = time.monotonic(), [], []
    with client.chat.completions.create(
        model="echo", messages=_said(text), stream=True, stream_options={"include_usage": True}, service_tier="priority"
    ) as stream:
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                arrived.append(time.monotonic() - began)
                words.append(chunk.choices[0].delta.content)
            last = chunk
    assert "".join(words).split() == text.split()[::-1]
    assert arrived[-1] - arrived[0] > 2 * PACE_SECONDS
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (7, 7)


def test_a_real_models_tokens_come_one_by_one(client: OpenAI) -> None:
    """SmolLM2 sends its words as they come, in one answer of many chunks."""
    with client.chat.completions.create(
        model="smollm2",
        messages=_said("Tell me a long story about a toll booth."),
        max_tokens=16,
        temperature=0,
        stream=True,
        service_tier="priority",
    ) as stream:
        chunks = list(stream)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(pieces) >= 8
    assert chunks[-1].choices[0].finish_reason in {"stop", "length"}
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_plain_completion_streams_as_well(client: OpenAI) -> None:
    """In the other kind of chunk."""
    with client.completions.create(
        model="echo", prompt="a b c", stream=True, stream_options={"include_usage": True}, extra_body=PRIORITY
    ) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "c b a"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3


def test_a_response_comes_piece_by_piece(client: OpenAI) -> None:
    """Its deltas arrive while the model works, and the SDK puts the response together."""
    text = f"one two three four five six _pace={PACE_SECONDS}"
    with client.responses.stream(model="echo", input=text, service_tier="priority") as stream:
        arrived = [time.monotonic() for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert final.output_text.split() == text.split()[::-1]
    assert arrived[-1] - arrived[0] > 2 * PACE_SECONDS
    assert float(final.to_dict()["tollgate"]["cost_usd"]) > 0  # type: ignore[index]  # a field of our own


def test_a_response_that_breaks_off_fails(client: OpenAI) -> None:
    """OpenAI's event says so, then the SDK raises."""
    seen: list[str] = []
    with (
        client.responses.create(
            model="echo", input="one two three four _break=2", stream=True, service_tier="priority"
        ) as stream,
        pytest.raises(openai.APIError),
    ):
        seen.extend(event.type for event in stream)
    assert seen[-1] == "response.failed"


def test_sagemakers_openai_route_streams(client: OpenAI) -> None:
    """It sends the container's events without the frame of `InvokeEndpointWithResponseStream`."""
    with client.chat.completions.create(model="echo-openai", messages=_said("a b c"), stream=True) as stream:
        pieces = [chunk.choices[0].delta.content for chunk in stream if chunk.choices[0].delta.content]
    assert pieces == ["c", " b", " a"]


def test_a_model_on_bedrock_streams(client: OpenAI) -> None:
    """Converse's events as OpenAI's chunks, with Bedrock's own count of tokens at the end."""
    with client.chat.completions.create(
        model="echo-bedrock", messages=_said("a b c"), stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    assert [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content] == ["c", " b", " a"]
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (3, 3)


def test_what_is_not_streamed_is_answered_by_the_same_function(client: OpenAI) -> None:
    """One base URL serves both, and every other route."""
    answer = client.chat.completions.create(model="echo", messages=_said("one two"), service_tier="priority")
    assert answer.choices[0].message.content == "two one"
    assert client.models.retrieve("echo").id == "echo"


def test_an_error_before_the_first_word_is_a_plain_error(client: OpenAI) -> None:
    """With its own status, so that the SDK raises and retries as ever."""
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nobody", messages=_said("x"), stream=True)
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="echo", prompt="x _fail=400", stream=True, extra_body=PRIORITY)
    assert refused.value.code == "model_rejected_input"


def test_an_error_in_the_middle_is_raised_by_the_sdk(client: OpenAI, local_stack: LocalStack) -> None:
    """What came before it was delivered, and is charged."""
    text = "one two three four _break=2"
    words = []
    with (
        client.chat.completions.create(
            model="echo", messages=_said(text), stream=True, service_tier="priority"
        ) as stream,
        pytest.raises(openai.APIError) as broken,
    ):
        words += [chunk.choices[0].delta.content or "" for chunk in stream]
    assert broken.value.code == "model_error"
    record = _records(local_stack)[-1]
    assert record["outcome"] == "failed"
    assert float(record["effective_cost_usd"]) > 0
    assert record["output_tokens"] == 2


def test_a_wrong_key_is_refused(local_stack: LocalStack) -> None:
    """The deployed authorizer is asked first."""
    with (
        OpenAI(base_url=f"{local_stack.url}{STREAMING_PREFIX}/v1", api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.chat.completions.create(model="echo", messages=_said("x"), stream=True)


def test_whoever_hangs_up_pays_for_what_ran(client: OpenAI, local_stack: LocalStack) -> None:
    """The model is stopped, and the time until then is charged."""
    text = " ".join(["word"] * 40) + f" _pace={PACE_SECONDS}"
    before = len(_records(local_stack))
    with client.chat.completions.create(
        model="echo", messages=_said(text), stream=True, service_tier="priority"
    ) as stream:
        next(iter(stream))
    until = time.monotonic() + 60
    while len(_records(local_stack)) == before and time.monotonic() < until:
        time.sleep(0.1)
    record = _records(local_stack)[-1]
    assert record["route_reason"].endswith(";caller_gone")
    assert float(record["effective_cost_usd"]) > 0
    assert 1 <= record["output_tokens"] < 30
    with urlopen(f"{local_stack.standin_url}/_standin/state", timeout=10) as answer:  # noqa: S310 -- our own stand-in
        state = json.load(answer)
    assert "abandoned" in json.dumps(state["inferences"])


def test_a_repetition_gets_the_first_stream_again(client: OpenAI) -> None:
    """With an Idempotency-Key nothing is run or charged twice."""
    key = {"Idempotency-Key": str(uuid.uuid4())}
    texts, replayed = [], []
    for _ in range(2):
        raw = client.chat.completions.with_raw_response.create(
            model="echo", messages=_said("once only"), stream=True, service_tier="priority", extra_headers=key
        )
        chunks = list(raw.parse())
        texts.append([(chunk.id, chunk.choices[0].delta.content) for chunk in chunks])
        replayed.append(raw.headers.get("x-tollgate-idempotent-replay"))
    assert [content for _, content in texts[0] if content] == ["only", " once"]
    assert {identity for identity, _ in texts[1]} == {texts[0][0][0]}
    assert replayed == [None, "true"]


def test_a_cached_answer_streams_at_once(client: OpenAI) -> None:
    """A complete stream is kept, and its copy comes as events."""
    text = f"cache me {uuid.uuid4()}"
    outcomes = []
    for _ in range(2):
        raw = client.chat.completions.with_raw_response.create(
            model="echo-cached", messages=_said(text), stream=True, temperature=0
        )
        said = "".join(chunk.choices[0].delta.content or "" for chunk in raw.parse() if chunk.choices)
        assert said.split() == text.split()[::-1]
        outcomes.append(raw.headers["x-tollgate-cache"])
    assert outcomes == ["miss", "hit"]
