"""The unmodified `openai` package against the local stack: only `base_url` and `api_key` are ours."""

import asyncio
import json
import math
import time
from collections.abc import Iterator
from typing import Any, Literal

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionUserMessageParam

from tests.local_stack import LocalStack

pytestmark = pytest.mark.e2e

HELLO: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "one two three"}]


@pytest.fixture(scope="module")
def client(local_stack: LocalStack) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{local_stack.url}/v1", api_key=local_stack.key, timeout=120) as made:
        yield made


def test_a_chat_with_a_real_model(client: OpenAI) -> None:
    """The answer, its usage and its id, as the SDK's own types."""
    messages: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "What is a toll booth?"}]
    answer = client.chat.completions.create(model="smollm2", messages=messages, max_tokens=8, service_tier="priority")
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8
    assert answer.service_tier == "priority"
    assert answer._request_id


def test_the_headers_tell_road_and_cost(client: OpenAI) -> None:
    """Through the SDK's raw response."""
    raw = client.chat.completions.with_raw_response.create(model="echo", messages=HELLO, service_tier="priority")
    assert raw.headers["x-tollgate-inference-type"] == "realtime"
    assert float(raw.headers["x-tollgate-cost-usd"]) > 0
    assert raw.parse().choices[0].message.content == "three two one"


def test_flex_waits_and_says_so(client: OpenAI) -> None:
    """The SDK sees a plain answer; the road was the asynchronous one."""
    raw = client.chat.completions.with_raw_response.create(model="echo", messages=HELLO, service_tier="flex")
    answer = raw.parse()
    assert answer.choices[0].message.content == "three two one"
    assert answer.service_tier == "flex"
    assert raw.headers["x-tollgate-inference-type"] == "async"


def test_a_client_that_does_not_wait_gets_its_job(client: OpenAI) -> None:
    """202 and the place to look."""
    raw = client.chat.completions.with_raw_response.create(
        model="echo", messages=HELLO, service_tier="flex", extra_headers={"Prefer": "respond-async"}
    )
    assert raw.status_code == 202
    assert raw.headers["location"].startswith("/v1/inferences/inf_")


def test_a_stream_is_iterated_to_its_usage(client: OpenAI) -> None:
    """The deltas add up to the text, and the last chunk has the usage."""
    with client.chat.completions.create(
        model="echo", messages=HELLO, stream=True, stream_options={"include_usage": True}, service_tier="priority"
    ) as stream:
        chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "three two one"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 6


def test_the_async_client_does_the_same(local_stack: LocalStack) -> None:
    """Four chats at once, one of them streamed."""

    async def talk() -> list[str]:
        async with AsyncOpenAI(base_url=f"{local_stack.url}/v1", api_key=local_stack.key, timeout=120) as own:
            plain = [
                own.chat.completions.create(model="echo", messages=HELLO, service_tier="priority") for _ in range(3)
            ]
            answers = [answer.choices[0].message.content or "" for answer in await asyncio.gather(*plain)]
            stream = await own.chat.completions.create(
                model="echo", messages=HELLO, stream=True, service_tier="priority"
            )
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
            return [*answers, "".join(pieces)]

    assert asyncio.run(talk()) == ["three two one"] * 4


def test_a_completion(client: OpenAI) -> None:
    """Whole and streamed."""
    answer = client.completions.create(model="echo", prompt="one two", extra_body={"service_tier": "priority"})
    assert answer.choices[0].text == "two one"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 4
    chunks = list(
        client.completions.create(model="echo", prompt="one two", stream=True, extra_body={"service_tier": "priority"})
    )
    assert "".join(chunk.choices[0].text for chunk in chunks) == "two one"


def test_a_list_of_prompts(client: OpenAI) -> None:
    """One answer, whose choices are in the order of the prompts."""
    raw = client.completions.with_raw_response.create(
        model="echo", prompt=["a b", "c", "d e f"], extra_body={"service_tier": "priority"}
    )
    answer = raw.parse()
    assert [(choice.index, choice.text) for choice in answer.choices] == [(0, "b a"), (1, "c"), (2, "f e d")]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 6
    assert float(raw.headers["x-tollgate-cost-usd"]) > 0
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="echo", prompt=[[1, 2, 3]])
    assert refused.value.param == "prompt[0]"


def test_a_list_of_prompts_as_jobs(client: OpenAI) -> None:
    """Asynchronously, and waited for."""
    answer = client.completions.create(model="echo", prompt=["a b", "c d"], extra_body={"service_tier": "flex"})
    assert [choice.text for choice in answer.choices] == ["b a", "d c"]


def test_sagemakers_openai_route(client: OpenAI) -> None:
    """A deployment behind it answers like any other: with a token in place of a signature."""
    raw = client.chat.completions.with_raw_response.create(model="echo-openai", messages=HELLO)
    assert raw.parse().choices[0].message.content == "three two one"
    assert raw.headers["x-tollgate-inference-type"] == "realtime"
    said: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "x _fail=422"}]
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="echo-openai", messages=said)
    assert refused.value.code == "model_rejected_input"
    assert "Asked to fail" in refused.value.message
    later = client.chat.completions.create(model="echo-openai", messages=HELLO, service_tier="flex")
    assert later.choices[0].message.content == "three two one"


def test_embeddings_of_a_real_model(client: OpenAI) -> None:
    """Packed, which is what the SDK asks for by itself, and as numbers: the same vectors of length 1."""
    packed = client.embeddings.create(model="minilm", input=["a toll booth", "a banana"])
    plain = client.embeddings.create(model="minilm", input="a toll booth", encoding_format="float")
    assert [len(entry.embedding) for entry in packed.data] == [384, 384]
    assert math.isclose(math.hypot(*packed.data[0].embedding), 1, rel_tol=1e-4)
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=2e-2)
    assert plain.usage.prompt_tokens > 0


def test_models_are_listed_and_looked_up(client: OpenAI) -> None:
    """By the SDK's own calls."""
    names = {model.id for model in client.models.list()}
    assert {"smollm2", "minilm", "echo"} <= names
    assert client.models.retrieve("smollm2").id == "smollm2"


def _broken(client: OpenAI, **changes: Any) -> openai.APIStatusError:
    request: dict[str, Any] = {"model": "echo", "messages": HELLO, "service_tier": "priority"} | changes
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**request)
    return caught.value


def test_errors_are_the_sdks_own(client: OpenAI) -> None:
    """Each with the class, the code and the parameter that a program can act on."""
    unsupported = _broken(client, n=3)
    assert isinstance(unsupported, openai.BadRequestError)
    assert (unsupported.code, unsupported.param) == ("unsupported_parameter", "n")
    assert unsupported.request_id
    malformed = _broken(client, temperature=9)
    assert isinstance(malformed, openai.BadRequestError)
    assert malformed.param == "temperature"
    unknown = _broken(client, model="gpt-none")
    assert isinstance(unknown, openai.NotFoundError)
    assert unknown.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-none")


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}, "tools"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}}, "response_format"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logprobs": True, "top_logprobs": 2}, "logprobs"),
        ({"n": 2}, "n"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"extra_body": {"min_p": 0.1}}, "min_p"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages"),
    ],
)
def test_what_a_container_does_not_have_is_named(client: OpenAI, asked: dict[str, Any], param: str) -> None:
    """A 400 with the parameter, before anything is run; never an answer that ignores what was asked."""
    refused = _broken(client, model="smollm2", **asked)
    assert isinstance(refused, openai.BadRequestError)
    assert refused.code == "unsupported_parameter"
    assert (refused.param or "").partition("[")[0] == param


def test_a_vectors_length_can_be_chosen_only_where_the_model_can(client: OpenAI) -> None:
    """MiniLM has one length."""
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model="minilm", input="a toll booth", dimensions=128)
    assert refused.value.param == "dimensions"


@pytest.mark.parametrize("tier", ["priority", "flex"])
def test_answers_say_what_the_key_may_send(client: OpenAI, tier: Literal["priority", "flex"]) -> None:
    """OpenAI's headers, on both roads."""
    raw = client.chat.completions.with_raw_response.create(model="echo", messages=HELLO, service_tier=tier)
    assert int(raw.headers["x-ratelimit-limit-requests"]) > 0
    assert raw.headers["x-ratelimit-reset-requests"].endswith("s")
    assert "x-ratelimit-remaining-requests" not in raw.headers
    assert raw.retries_taken == 0


def test_a_wrong_key_is_an_authentication_error(local_stack: LocalStack) -> None:
    """Answered by API Gateway, in the same shape."""
    with (
        OpenAI(base_url=f"{local_stack.url}/v1", api_key="tg_wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        stranger.models.list()
    assert caught.value.code == "invalid_api_key"


def test_a_failing_container_is_tried_again_by_the_sdk(client: OpenAI) -> None:
    """A 502 is worth a retry and in the end an InternalServerError; an input that the container refuses is a 400."""
    failing: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "_fail=500"}]
    raised = _broken(client.with_options(max_retries=1), messages=failing)
    assert isinstance(raised, openai.InternalServerError)
    assert raised.response.request.headers["x-stainless-retry-count"] == "1"
    refused: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "_fail=422"}]
    assert isinstance(_broken(client, messages=refused), openai.BadRequestError)


def test_a_failed_job_is_not_tried_again(client: OpenAI) -> None:
    """A second try would be a second job to pay for."""
    failing: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "_fail=500"}]
    raised = _broken(client, messages=failing, service_tier="flex")
    assert raised.response.headers["x-should-retry"] == "false"
    assert raised.response.request.headers["x-stainless-retry-count"] == "0"


def test_an_idempotency_key_gives_the_first_answer_again(client: OpenAI) -> None:
    """At no cost."""
    headers = {"Idempotency-Key": f"sdk-{id(client)}"}
    answers = [
        client.chat.completions.with_raw_response.create(
            model="echo", messages=HELLO, service_tier="priority", extra_headers=headers
        )
        for _ in range(2)
    ]
    assert json.loads(answers[0].text) == json.loads(answers[1].text)
    assert answers[1].headers["x-tollgate-cost-usd"] == "0"


def test_a_background_response_is_polled_to_its_end(client: OpenAI) -> None:
    """Created, looked up until it is done, and read with the SDK's own shortcut."""
    response = client.responses.create(
        model="echo", input="one two three", background=True, service_tier="flex", metadata={"a": "b"}
    )
    assert response.status in {"queued", "in_progress"}
    until = time.monotonic() + 30
    while response.status in {"queued", "in_progress"} and time.monotonic() < until:
        time.sleep(0.3)
        response = client.responses.retrieve(response.id)
    assert response.status == "completed"
    assert response.output_text == "three two one"
    assert response.usage is not None
    assert response.usage.total_tokens == 6
    assert response.metadata == {"a": "b"}
    with pytest.raises(openai.ConflictError):
        client.responses.cancel(response.id)


def test_a_waiting_response_is_cancelled(client: OpenAI) -> None:
    """It waits for a batch, so there is time to call it off."""
    response = client.responses.create(model="echo", input="one", background=True)
    assert client.responses.cancel(response.id).status == "cancelled"
    assert client.responses.retrieve(response.id).status == "cancelled"


def test_a_response_can_be_waited_for(client: OpenAI) -> None:
    """Without `background` the answer comes with the call."""
    response = client.responses.create(
        model="echo", input=[{"role": "user", "content": "one two"}], service_tier="priority"
    )
    assert response.output_text == "two one"
    assert response.service_tier == "priority"


def test_a_response_is_streamed(client: OpenAI) -> None:
    """The SDK puts the events together again."""
    with client.responses.stream(model="echo", input="one two three", service_tier="priority") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert final.output_text == "three two one"
    assert final.usage is not None
    assert final.usage.total_tokens == 6


def test_a_conversation_of_responses_goes_on_by_its_items(client: OpenAI) -> None:
    """The SDK's own output items are input items; a stored response would not be found."""
    first = client.responses.create(model="echo", input="one two", service_tier="priority")
    items: list[Any] = [{"role": "user", "content": "one two"}, *first.output, {"role": "user", "content": "and you"}]
    second = client.responses.create(model="echo", input=items, service_tier="priority")
    assert second.output_text == "you and"
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="echo", input="go on", previous_response_id=first.id)
    assert refused.value.param == "previous_response_id"
