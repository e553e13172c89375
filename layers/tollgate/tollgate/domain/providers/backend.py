"""A backend priced by the token instead of the instance hour, and the most that one of its calls can cost.

A reservation has to be an upper bound, and so does the charge when it is unknown what ran. Two facts give the bound:
the provider is told how much it may generate, and a token of a text is never less than a byte of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from tollgate.domain.providers.prices import BucketRates


class Provider(StrEnum):
    """Who serves it: Amazon Bedrock, or any HTTP API that speaks OpenAI's language."""

    BEDROCK = "bedrock"
    OPENAI_HTTP = "openai_http"


DIALECT_OF: Mapping[Provider, str] = {Provider.BEDROCK: "converse", Provider.OPENAI_HTTP: "openai"}
"""The dialect that each provider speaks."""


@dataclass(frozen=True, slots=True)
class TokenBackend:
    """What a road needs to know of its provider; the model's id there is the road's `target`.

    Attributes:
        rates: dollars per million tokens, as they were when the catalogue was applied.
        max_output_tokens: the most that any call may generate, reasoning included; every call tells the provider.
        url: base address of the API, without a trailing slash, as ``https://api.example.com/v1``; `openai_http` only.
        api_key_parameter: name of the SSM SecureString with the key; empty where the API needs none.
    """

    provider: Provider
    rates: BucketRates
    max_output_tokens: int
    url: str = ""
    api_key_parameter: str = ""


class MostTokens(NamedTuple):
    """The tokens that a call cannot exceed.

    Attributes:
        input: of the prompt, by the bytes of the body.
        output: of all answers together, by the limit that the body sets.
    """

    input: int
    output: int
