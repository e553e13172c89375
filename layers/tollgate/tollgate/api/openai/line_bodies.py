"""Bodies and answers of a batch's lines, read and written by the rules of the routes that they name."""

from collections.abc import Callable, Mapping
from copy import replace
from typing import Any

from tollgate.api.openai.answers import (
    Served,
    chat_completion,
    embedding_list,
    fingerprint_of,
    text_completion,
)
from tollgate.api.openai.chat_body import CHAT, chat_messages, chat_parameters
from tollgate.api.openai.response_answers import served_response
from tollgate.api.openai.response_body import RESPONSE, chat_of, response_parameter
from tollgate.api.openai.text_bodies import (
    COMPLETION,
    EMBEDDING,
    completion_parameters,
    embedding_parameters,
    texts_of,
)
from tollgate.api.problems import error_body, problem_of
from tollgate.domain.cache.control import CacheMode
from tollgate.domain.catalogue import ModelKind
from tollgate.domain.errors import InvalidRequestError, ModelFailedError, TollgateError, UnsupportedParameterError
from tollgate.domain.jobs.job import Usage
from tollgate.domain.roads.capabilities import Needs
from tollgate.domain.tokens import estimate_tokens
from tollgate.ports.files import LineAnswer, ReadBody

_TIER = "flex"
"""OpenAI's word for a road that is cheaper because nobody waits for it."""


def refusal_of(error: TollgateError) -> Mapping[str, Any]:
    """Status and body with which a route would answer this error."""
    problem = problem_of(error)
    return {"status": problem.status, "body": error_body(error.message, problem, error.param)}


class OpenAILineBodies:
    """The `LineBodies` of OpenAI's routes."""

    def read(self, endpoint: str, body: Mapping[str, Any]) -> ReadBody:
        """See `LineBodies`."""
        found = _READERS[endpoint](body)
        _refuse_wishes(body)
        return found

    def answer(self, endpoint: str, answer: LineAnswer) -> Mapping[str, Any]:
        """See `LineBodies`."""
        served = Served(
            inference_id=answer.inference_id,
            created_at=answer.created_at,
            model=answer.model,
            output=answer.output,
            usage=answer.usage,
            tier=_TIER,
            fingerprint=fingerprint_of(answer.resource, answer.catalogue_version),
        )
        return _WRITERS[endpoint](served, answer.kept)


def _refuse_wishes(body: Mapping[str, Any]) -> None:
    """Refuse what would cost the caller more, or run what was not to run, if it were passed over.

    Raises:
        UnsupportedParameterError
    """
    wishes = {name: body.get(name) for name in ("trim", "quality", "cascade")}
    wishes["cache.mode"] = (body.get("cache") or {}).get("mode") == CacheMode.ONLY or None
    for name, wish in wishes.items():
        if wish is not None and wish is not False:
            raise UnsupportedParameterError(
                f"'{name}' does not work in a batch: every line goes to its model as it is.", param=name
            )


def _read_chat(given: Mapping[str, Any]) -> ReadBody:
    body = CHAT.read(given)
    parameters, needed = chat_parameters(body)
    value = {"messages": chat_messages(body["messages"])}
    return ReadBody(body["model"], value, parameters, Needs(ModelKind.CHAT, needed), {})


def _read_completion(given: Mapping[str, Any]) -> ReadBody:
    body = COMPLETION.read(given)
    parameters, needed = completion_parameters(body)
    prompt, *others = texts_of(body, "prompt")
    if others:
        raise InvalidRequestError("A line of a batch takes one prompt; give every prompt a line.", param="prompt")
    return ReadBody(body["model"], {"inputs": prompt}, parameters, Needs(ModelKind.CHAT, needed), {})


def _read_embedding(given: Mapping[str, Any]) -> ReadBody:
    body = EMBEDDING.read(given)
    parameters, needed = embedding_parameters(body)
    texts = texts_of(body, "input")
    kept = {
        "texts": len(texts),
        "tokens": sum(map(estimate_tokens, texts)),
        "format": body.get("encoding_format") or "float",
    }
    return ReadBody(body["model"], {"inputs": texts}, parameters, Needs(ModelKind.EMBEDDING, needed), kept)


def _read_response(given: Mapping[str, Any]) -> ReadBody:
    body = RESPONSE.read(given)
    chat = chat_of(body)
    parameters, needed = chat_parameters(chat)
    needs = Needs(ModelKind.CHAT, {response_parameter(name): value for name, value in needed.items()})
    kept = {"parameters": parameters, "metadata": body.get("metadata") or {}}
    return ReadBody(body["model"], {"messages": chat_messages(chat["messages"])}, parameters, needs, kept)


def _embeddings(served: Served, kept: Mapping[str, Any]) -> dict[str, Any]:
    counted = served.usage.input_tokens is not None
    known = served if counted else replace(served, usage=Usage(kept["tokens"], 0))
    document = embedding_list(known, [], kept["format"])
    if len(document["data"]) != kept["texts"]:
        message = f"The model container gave {len(document['data'])} embeddings for {kept['texts']} texts."
        raise ModelFailedError(message, original_status=502)
    if not counted:
        document["usage"]["estimated"] = True
    return document


_READERS: Mapping[str, Callable[[Mapping[str, Any]], ReadBody]] = {
    "/v1/chat/completions": _read_chat,
    "/v1/completions": _read_completion,
    "/v1/embeddings": _read_embedding,
    "/v1/responses": _read_response,
}
_WRITERS: Mapping[str, Callable[[Served, Mapping[str, Any]], dict[str, Any]]] = {
    "/v1/chat/completions": lambda served, _: chat_completion(served),
    "/v1/completions": lambda served, _: text_completion(served),
    "/v1/embeddings": _embeddings,
    "/v1/responses": lambda served, kept: served_response(served, kept["parameters"], kept["metadata"]),
}
