"""The real models, where their environment is: `TOLLGATE_STANDIN_PYTHON` names its Python."""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.sagemaker_standin.process import StandIn, client

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif("TOLLGATE_STANDIN_PYTHON" not in os.environ, reason="TOLLGATE_STANDIN_PYTHON is not set"),
]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    # The default configuration, and no AWS: real-time calls need none.
    standin = StandIn(tmp_path_factory.mktemp("models"), "http://127.0.0.1:9", Path("local/sagemaker.toml"))
    sagemaker = client("sagemaker", standin.url)
    for endpoint in sagemaker.list_endpoints(NameContains="tollgate-", MaxResults=100)["Endpoints"]:
        sagemaker.get_waiter("endpoint_in_service").wait(
            EndpointName=endpoint["EndpointName"], WaiterConfig={"Delay": 1, "MaxAttempts": 20}
        )
    sagemaker.close()
    runtime = client("sagemaker-runtime", standin.url, read_timeout=90)
    yield runtime
    runtime.close()
    standin.stop()


def ask(runtime: Any, model: str, document: Any) -> Any:
    answer = runtime.invoke_endpoint(
        EndpointName=f"tollgate-{model}-realtime", ContentType="application/json", Body=json.dumps(document)
    )
    return json.loads(answer["Body"].read())


def test_smollm2_answers_a_question(runtime: Any) -> None:
    """A chat comes back as text, within its limit, with the tokens counted."""
    question = [{"role": "user", "content": "Say hello in one sentence."}]
    answer = ask(runtime, "smollm2", {"messages": question, "max_tokens": 12, "temperature": 0})
    assert len(answer["choices"][0]["message"]["content"].split()) > 1
    usage = answer["usage"]
    assert usage["prompt_tokens"] > 8
    assert 0 < usage["completion_tokens"] <= 12
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_smollm2_continues_a_text(runtime: Any) -> None:
    """Hugging Face's body works too, as a continuation."""
    parameters = {"max_new_tokens": 4, "temperature": 0}
    [answer] = ask(runtime, "smollm2", {"inputs": "The capital of France is", "parameters": parameters})
    assert answer["generated_text"].startswith(" Paris")
    assert answer["details"]["generated_tokens"] == 4
    assert answer["details"]["prefill_tokens"] == 5


def test_smollm2_streams(runtime: Any) -> None:
    """Tokens come one by one, and the usage at the end."""
    body = {
        "messages": [{"role": "user", "content": "Count to five."}],
        "max_tokens": 8,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    answer = runtime.invoke_endpoint_with_response_stream(
        EndpointName="tollgate-smollm2-realtime", ContentType="application/json", Body=json.dumps(body)
    )
    parts = [event["PayloadPart"]["Bytes"].decode() for event in answer["Body"]]
    assert parts.pop() == "data: [DONE]\n\n"
    chunks = [json.loads(part.removeprefix("data: ")) for part in parts]
    assert chunks[-1]["usage"]["completion_tokens"] <= 8
    assert sum(bool(chunk["choices"] and chunk["choices"][0]["delta"].get("content")) for chunk in chunks) > 2


def test_smollm2_refuses_a_prompt_beyond_its_context(runtime: Any) -> None:
    """Too long a prompt is the client's error, not a crash, and the model answers the next one."""
    with pytest.raises(runtime.exceptions.ModelError) as raised:
        ask(runtime, "smollm2", {"messages": [{"role": "user", "content": "word " * 5000}]})
    assert raised.value.response["OriginalStatusCode"] == 400
    assert ask(runtime, "smollm2", {"inputs": "Hello", "parameters": {"max_new_tokens": 1}})


def test_minilm_puts_like_texts_near_each_other(runtime: Any) -> None:
    """384 numbers of length one; a paraphrase is nearer than another subject; OpenAI's shape has usage."""
    texts = ["A cat sits on the mat.", "There is a cat on the rug.", "Interest rates rose again."]
    cat, paraphrase, other = ask(runtime, "minilm", {"inputs": texts})
    assert len(cat) == 384
    assert math.isclose(math.hypot(*cat), 1, rel_tol=1e-5)
    assert math.sumprod(cat, paraphrase) > math.sumprod(cat, other) + 0.3
    answer = ask(runtime, "minilm", {"input": texts[0]})
    assert answer["data"][0]["embedding"] == pytest.approx(cat, abs=0.02)
    assert answer["usage"]["prompt_tokens"] == 9


def test_langid_knows_languages(runtime: Any) -> None:
    """Each text gets its best label and score, more when asked, and no usage."""
    texts = ["Bonjour tout le monde, comment allez-vous ?", "The weather is fine and we go for a walk."]
    answer = ask(runtime, "langid", {"inputs": texts})
    assert [row[0]["label"] for row in answer] == ["fr", "en"]
    assert all(len(row) == 1 and 0.5 < row[0]["score"] <= 1 for row in answer)
    [row] = ask(runtime, "langid", {"inputs": texts[0], "parameters": {"top_k": 3}})
    assert [entry["score"] for entry in row] == sorted((entry["score"] for entry in row), reverse=True)
    assert len(row) == 3
