"""How containers are spoken to, and what is read out of their answers."""

import importlib
import json
import pkgutil
from copy import replace
from typing import Any, get_args

import pytest

from tests.fakes.examples import make_catalogue
from tollgate.adapters import dialects
from tollgate.adapters.dialects import ContainerDialects
from tollgate.adapters.dialects.converse import ConverseDialect
from tollgate.adapters.dialects.inputs import InputsDialect
from tollgate.api.catalogue_file import DeploymentEntry
from tollgate.domain.errors import CatalogueError, InvalidRequestError, ModelFailedError
from tollgate.domain.generated import choices_in, vectors_in
from tollgate.ports.dialects import Dialect

CHAT = {"messages": [{"role": "user", "content": "hello"}]}
COMPLETION = {
    "object": "chat.completion",
    "choices": [
        {"message": {"content": "there", "refusal": None}, "finish_reason": "stop", "logprobs": {"content": []}}
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1},
}
GENERATED = [
    {"generated_text": "there", "details": {"finish_reason": "length", "generated_tokens": 1, "prefill": [{}]}}
]


def _dialect(name: str) -> Dialect:
    (model,) = make_catalogue().models.values()
    return ContainerDialects().of(replace(model.deployments[0], dialect=name))


def _rendered(name: str, payload: Any, **parameters: Any) -> Any:
    return json.loads(_dialect(name).render(payload, parameters).body)


def _parsed(name: str, answer: Any) -> Any:
    return _dialect(name).parse(json.dumps(answer).encode())


def test_an_unknown_dialect_is_the_catalogues_fault() -> None:
    """It names the deployment."""
    with pytest.raises(CatalogueError, match="echo/small"):
        _dialect("morse")


def test_catalogue_files_may_name_every_dialect_and_no_other() -> None:
    """What a file may say is what containers are spoken to in; a new dialect is added in both places.

    That of a provider paid by the token is not chosen: the provider has one.
    """
    names: set[str] = set()
    for module in pkgutil.iter_modules(dialects.__path__, f"{dialects.__name__}."):
        kinds = vars(importlib.import_module(module.name)).values()
        said = (vars(kind).get("name") for kind in kinds if isinstance(kind, type))
        names |= {name for name in said if isinstance(name, str)}
    names -= {"converse"}
    assert names >= {"messages", "sagemaker-openai"}
    assert {_dialect(name).name for name in names} == names
    spoken, _ = get_args(DeploymentEntry.model_fields["dialect"].annotation)
    assert set(get_args(spoken)) == names


@pytest.mark.parametrize("name", ["messages", "openai", "tgi"])
def test_chats_go_out_in_openais_form(name: str) -> None:
    """With the parameters beside the messages, and never as a stream."""
    assert _rendered(name, CHAT | {"stream": True}, max_tokens=5) == CHAT | {"max_tokens": 5}


def test_sagemakers_openai_route_is_for_chats() -> None:
    """With the model field that OpenAI's form wants; the endpoint is in the URL."""
    assert _rendered("sagemaker-openai", CHAT, max_tokens=5) == CHAT | {"model": "", "max_tokens": 5}
    assert _rendered("sagemaker-openai", "hello") == CHAT | {"model": ""}
    assert _parsed("sagemaker-openai", COMPLETION) == _parsed("messages", COMPLETION)
    with pytest.raises(InvalidRequestError):
        _rendered("sagemaker-openai", {"inputs": "continue this"})


@pytest.mark.parametrize("name", ["messages", "openai"])
def test_a_plain_text_is_a_users_message(name: str) -> None:
    """What Tollgate's own route takes for chat models."""
    assert _rendered(name, "hello") == CHAT


@pytest.mark.parametrize("name", ["inputs", "tgi"])
def test_a_plain_text_is_an_input(name: str) -> None:
    """For all other containers."""
    assert _rendered(name, "hello", max_new_tokens=5) == {"inputs": "hello", "parameters": {"max_new_tokens": 5}}


def test_a_text_to_continue_has_the_words_of_each_server() -> None:
    """DJL-LMI and TGI take Hugging Face's, vLLM OpenAI's."""
    parameters = {"details": True, "return_full_text": False, "max_new_tokens": 5, "stop": ["x"]}
    for name in ("messages", "tgi", "inputs"):
        assert _rendered(name, {"inputs": "hello"}, **parameters) == {"inputs": "hello", "parameters": parameters}
    assert _rendered("openai", {"inputs": "hello"}, **parameters) == {"prompt": "hello", "max_tokens": 5, "stop": ["x"]}


def test_texts_to_embed_are_openais_input_for_its_servers() -> None:
    """And `inputs` elsewhere."""
    assert _rendered("openai", {"inputs": ["a", "b"]}, dimensions=2) == {"input": ["a", "b"], "dimensions": 2}
    assert _rendered("inputs", {"inputs": ["a", "b"]}) == {"inputs": ["a", "b"]}


def test_openais_own_bodies_pass_to_its_servers() -> None:
    """From Tollgate's own route."""
    assert _rendered("openai", {"prompt": "x"}, max_tokens=2) == {"prompt": "x", "max_tokens": 2}
    assert _rendered("openai", {"input": "x"}) == {"input": "x"}


@pytest.mark.parametrize(
    ("name", "payload"),
    [("messages", 7), ("messages", {"text": "x"}), ("openai", {"text": "x"}), ("tgi", {"messages": []})],
)
def test_what_a_container_cannot_take_is_refused(name: str, payload: Any) -> None:
    """Before it is sent."""
    with pytest.raises(InvalidRequestError):
        _rendered(name, payload)


@pytest.mark.parametrize("name", ["messages", "openai", "tgi"])
def test_a_chats_answer_is_read_flat(name: str) -> None:
    """With what was given of logprobs and the like, and the tokens."""
    parsed = _parsed(name, COMPLETION)
    assert parsed.output == {"text": "there", "finish_reason": "stop", "logprobs": {"content": []}}
    assert (parsed.input_tokens, parsed.output_tokens) == (3, 1)


@pytest.mark.parametrize("name", ["messages", "tgi", "inputs"])
def test_a_generated_text_keeps_its_form_and_tells_its_tokens(name: str) -> None:
    """Those of the prompt are counted from the list that TGI gives."""
    parsed = _parsed(name, GENERATED)
    assert parsed.output == GENERATED
    assert (parsed.input_tokens, parsed.output_tokens) == (1, 1)
    (choice,) = choices_in(parsed.output)
    assert (choice.text, choice.finish_reason) == ("there", "length")


def test_a_chat_need_not_say_that_it_is_one() -> None:
    """Not all who speak OpenAI's language name the object; the answer was made, and is paid for."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    parsed = _parsed("openai", {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 1}})
    assert (parsed.output["text"], parsed.input_tokens, parsed.output_tokens) == ("hi", 3, 1)


def test_several_answers_stay_several() -> None:
    """The first is also given flat."""
    two = [{"message": {"content": text}, "finish_reason": "stop"} for text in ("a", "b")]
    for name, answer in (
        ("messages", {"choices": two}),
        (
            "openai",
            {"object": "text_completion", "choices": [{"text": "a"}, {"text": "b", "logprobs": {"tokens": []}}]},
        ),
    ):
        output = _parsed(name, answer).output
        assert output["text"] == "a"
        assert [choice.text for choice in choices_in(output)] == ["a", "b"]


def test_openais_embeddings_are_read_in_their_order() -> None:
    """By index, with the tokens that were read."""
    data = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]
    parsed = _parsed("openai", {"object": "list", "data": data, "usage": {"prompt_tokens": 4}})
    assert parsed.output == [[1.0], [2.0]]
    assert (parsed.input_tokens, parsed.output_tokens) == (4, 0)


@pytest.mark.parametrize("name", ["messages", "openai", "tgi", "inputs"])
def test_what_is_not_json_is_the_models_fault(name: str) -> None:
    """And the caller is told so."""
    with pytest.raises(ModelFailedError):
        _dialect(name).parse(b"<html>")
    with pytest.raises(ModelFailedError):
        _dialect(name).parse(b"[" * 100_000 + b"]" * 100_000)


@pytest.mark.parametrize(
    "usage", [[], "5", {"prompt_tokens": -1_000_000}, {"prompt_tokens": "5"}, {"prompt_tokens": 1.5}]
)
@pytest.mark.parametrize("name", ["messages", "openai", "tgi", "inputs"])
def test_tokens_that_cannot_be_are_not_known(name: str, usage: Any) -> None:
    """A price by tokens would fall below nothing, or fail."""
    text = {"object": "text_completion", "choices": [{"text": "there"}]}
    lists = {"object": "list", "data": [{"index": 0, "embedding": [1.0]}]}
    for answer in (COMPLETION, text, lists) if name == "openai" else (COMPLETION,):
        assert _parsed(name, answer | {"usage": usage}).input_tokens is None


@pytest.mark.parametrize("answer", [{}, {"object": "list"}, {"object": "text_completion", "choices": []}, [1]])
def test_half_an_answer_is_the_models_fault(answer: Any) -> None:
    """Also when it looks like one of OpenAI's."""
    with pytest.raises(ModelFailedError):
        _parsed("openai", answer)


@pytest.mark.parametrize(
    "output", [None, 1, [], [1], {}, {"text": 5}, {"echo": "x"}, "text", {"text": "x", "tool_calls": [1]}]
)
def test_only_texts_are_choices(output: Any) -> None:
    """Anything else is the model's failure, not an empty answer."""
    with pytest.raises(ModelFailedError):
        choices_in(output)


@pytest.mark.parametrize("output", [None, [], [[]], [["a"]], [[True]], {"embeddings": []}, "x", [[1.0], "x"]])
def test_only_lists_of_numbers_are_vectors(output: Any) -> None:
    """As above."""
    with pytest.raises(ModelFailedError):
        vectors_in(output)


def test_vectors_may_have_a_name() -> None:
    """Some containers answer with an object."""
    assert vectors_in({"embeddings": [[1, 2.5]]}) == [[1, 2.5]]


@pytest.mark.parametrize("own", [[1], "abc", 5, True])
def test_parameters_are_added_to_an_object_only(own: object) -> None:
    """Others that stand beside `inputs` already are refused rather than lost."""
    with pytest.raises(InvalidRequestError, match="must be an object"):
        InputsDialect().render({"inputs": "hi", "parameters": own}, {"top_k": 5})
    rendered = InputsDialect().render({"inputs": "hi", "parameters": None}, {"top_k": 5})
    assert json.loads(rendered.body) == {"inputs": "hi", "parameters": {"top_k": 5}}


@pytest.mark.parametrize("name", ["messages", "prompt", "input"])
@pytest.mark.parametrize(
    ("dialect", "payload"),
    [
        (_dialect("messages"), "hello"),
        (_dialect("tgi"), CHAT),
        (_dialect("sagemaker-openai"), CHAT),
        (_dialect("openai"), {"inputs": "hello"}),
        (ConverseDialect(), "hello"),
    ],
)
def test_parameters_never_replace_the_input(dialect: Dialect, payload: Any, name: str) -> None:
    """Budgets and estimates go by the input, so nothing else may be sent in its place."""
    with pytest.raises(InvalidRequestError) as refused:
        dialect.render(payload, {name: "another"})
    assert refused.value.param == f"parameters.{name}"
