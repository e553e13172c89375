"""Whoever is asked and says no: no secret in what is said comes through."""

from collections.abc import Callable

import pytest

from tollgate.adapters.aws.errors import AwsError, ModelError
from tollgate.adapters.aws.translation import backend_error
from tollgate.adapters.dialects.streaming import ChunkReader
from tollgate.adapters.providers.bedrock_call import bedrock_error
from tollgate.adapters.providers.openai_http_errors import provider_error
from tollgate.domain.errors import ModelFailedError
from tollgate.ports.backends import TransformStatus
from tollgate.services.batches.output import failure_of

_SECRET = "sk-abcdefgh1234"
_SAID = f"no luck with Bearer {_SECRET} here"


def _of_model() -> ModelError:
    error = ModelError("ModelError", "", 424)
    error.original_message = _SAID
    return error


def _in_stream() -> str:
    with pytest.raises(ModelFailedError) as caught:
        ChunkReader().feed(b'data: {"error": {"message": "%b"}}\n\n' % _SAID.encode())
    return caught.value.message


CASES: dict[str, Callable[[], str]] = {
    "container": lambda: backend_error(_of_model(), "Endpoint 'e'").message,
    "container without words of its own": lambda: (
        backend_error(ModelError("ModelError", _SAID), "Endpoint 'e'").message
    ),
    "bedrock's model": lambda: bedrock_error(_of_model(), "m").message,
    "bedrock": lambda: bedrock_error(AwsError("ValidationException", _SAID, 400), "m").message,
    "provider": lambda: provider_error("h", 400, {}, b'{"error": "%b"}' % _SAID.encode(), "").message,
    "stream": _in_stream,
    "batch": lambda: failure_of(TransformStatus("b", "Failed", _SAID, None, None)).message,
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_secret_is_quoted(case: str) -> None:
    """The sentence is, without the key in it."""
    assert "no luck with Bearer *** here" in CASES[case]()
