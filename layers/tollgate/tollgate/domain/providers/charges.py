"""What a call to a token-priced backend is expected to cost, costs at most, and did cost."""

import re
from collections import Counter
from decimal import Decimal
from typing import Any, Literal
from unicodedata import combining, normalize

from tollgate.domain.budgets.reserving import Ask
from tollgate.domain.catalogue import InferenceType, Road
from tollgate.domain.costs.gateway_parts import GatewayRates
from tollgate.domain.errors import BackendError, BackendTimeoutError, ModelFailedError, PriceUnknownError
from tollgate.domain.jobs.job import Usage
from tollgate.domain.json_values import compact_json, strict_json
from tollgate.domain.money import ZERO, usd
from tollgate.domain.providers.backend import MostTokens, TokenBackend
from tollgate.domain.providers.prices import split_usage, token_cost
from tollgate.domain.roads.estimates import TOKEN_JOB_SECONDS

TEMPLATE_TOKENS = 1_024
"""What a provider may put around the messages: the words of its chat template, and its own instructions for tools, for
which Anthropic's table of tool use gives up to 530 tokens.
https://docs.claude.com/en/docs/agents-and-tools/tool-use/overview#pricing
"""

_SPREAD_OF_SCHEMAS = 2
_INDENT = 4
"""Tools and schemas are written out anew for the model: some templates give a line, and as many spaces for each level,
to everything in them. Others write them as types, for which twice their bytes leaves room.
https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct/blob/main/tokenizer_config.json
"""

SETTLING_SECONDS = 2.0
"""Seconds of the function's own time around the call."""

_WRITE_UNITS = 64
"""Table write units for a reservation in a dozen budgets and its settlement."""

_UNUSABLE = 502
"""The status that dialects and stream readers give to an answer that came but is invalid."""

_PER = Decimal(1_000_000)


def most_input_tokens(body: bytes, *, schemas: bool) -> int:
    """An upper bound on the tokens of this body's prompt.

    Tokenizers that fall back to bytes, as those of all token-priced models do, make at most one token of a byte of
    UTF-8. Some normalise the text to NFKC first, which can lengthen it. The JSON around each message is longer than
    what a chat template puts there.

    Args:
        body: the JSON sent to the provider.
        schemas: whether it describes tools, or the form of the answer.
    """
    most = len(body)
    if b"\\u" in body or not body.isascii():
        most = max(most, _normalized(compact_json(strict_json(body))))
    if schemas:
        most = max(most * _SPREAD_OF_SCHEMAS, most + _indents(strict_json(body)))
    return most + TEMPLATE_TOKENS


_ASCII = re.compile(r"[\x00-\x7f]+")


def _normalized(text: str) -> int:
    """Bytes of UTF-8 that NFKC cannot exceed, in a time that grows with the text.

    Python sorts combining marks in a time that grows with the square of their number, so each character is normalised
    by itself. What neighbours become together is never longer, unless marks change places and undo what a character is
    composed of; where there are marks, all characters are therefore counted decomposed.
    """
    others = Counter(_ASCII.sub("", text))
    form: Literal["NFKC", "NFKD"] = "NFKD" if any(combining(normalize("NFKD", c)[0]) for c in others) else "NFKC"
    longer = sum(count * len(normalize(form, c).encode(errors="surrogatepass")) for c, count in others.items())
    return len(text) - others.total() + longer


def _indents(value: Any) -> int:
    """Bytes that line breaks and indents add to compact JSON; the text itself could be hundreds of times its size."""
    added, depth, level = 0, 0, [value]
    while level:
        depth += 1
        entries = sum(map(len, level))
        # A line for each entry, with a space after its name, and one for the closing bracket.
        added += entries * (_INDENT * depth + 2) + len(level) * (_INDENT * (depth - 1) + 1)
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
    return added


def expected_token_cost(backend: TokenBackend, input_tokens: int, output_tokens: int) -> Decimal:
    """Dollars of so many tokens, none of them from a prompt cache."""
    rates = backend.rates
    return usd((input_tokens * rates.input + output_tokens * rates.output) / _PER)


def most_token_cost(backend: TokenBackend, most: MostTokens) -> Decimal:
    """Dollars that a call cannot exceed, whichever bucket its tokens turn out to be in."""
    rates = backend.rates
    read = max(rates.input, rates.cached_input or ZERO)
    made = max(rates.output, rates.reasoning or ZERO)
    return usd((most.input * read + most.output * made) / _PER)


def charged_token_cost(backend: TokenBackend, usage: Usage) -> Decimal | None:
    """Dollars of a call by what its provider reported; None if it did not report input and output tokens.

    Tokens in a bucket without a rate of its own are charged as the rest of the input or the output; so are those of a
    bucket that the provider did not report, unless that bucket is the dearer one.
    """
    if usage.input_tokens == 0:
        return None  # No chat is empty: a report of no input tokens was not counted.
    if _is_more(usage.cached_input_tokens, usage.input_tokens) or _is_more(usage.reasoning_tokens, usage.output_tokens):
        return None  # Figures that contradict each other are unusable, whether or not the part has a rate of its own.
    rates = backend.rates
    told = split_usage(
        usage.input_tokens,
        usage.output_tokens,
        cached=_part(usage.cached_input_tokens, usage.input_tokens, rates.cached_input, rates.input),
        reasoning=_part(usage.reasoning_tokens, usage.output_tokens, rates.reasoning, rates.output),
    )
    return token_cost(told, rates)


def _is_more(part: int | None, whole: int | None) -> bool:
    return part is not None and whole is not None and part > whole


def _part(reported: int | None, whole: int | None, rate: Decimal | None, rate_of_whole: Decimal) -> int | None:
    if rate is None:
        return 0
    return reported if reported is not None else (whole if rate > rate_of_whole else 0)


def token_ask(
    road: Road, most: MostTokens | None, rates: GatewayRates, body_bytes: int, *, lambda_gb_seconds: Decimal
) -> Ask:
    """What to reserve for a call: the most that it can cost, so that it never needs to be cut off.

    Args:
        road: that leads to the provider.
        most: the tokens that the body cannot exceed.
        rates: the gateway's own parts.
        body_bytes: of the request.
        lambda_gb_seconds: that the function which runs a real-time call may take for it, `SETTLING_SECONDS` included.

    Raises:
        PriceUnknownError: it is unknown how many tokens the call could take.
    """
    if road.tokens is None or most is None:
        raise PriceUnknownError("What the request can cost at most is not known.")
    writes = _WRITE_UNITS * rates.table_write_unit
    if road.inference_type is InferenceType.REALTIME:
        parts = rates.realtime(lambda_gb_seconds)
    else:
        parts = rates.expected(road.inference_type, body_bytes, 0.0) + rates.waiting(TOKEN_JOB_SECONDS)
    return Ask(usd(most_token_cost(road.tokens, most) + parts + writes), billed=True)


def may_be_charged(error: BackendError) -> bool:
    """Whether a provider may charge for a failed call: it may have run, or its answer was unusable."""
    if isinstance(error, BackendTimeoutError) or error.answer_begun:
        return True
    return isinstance(error, ModelFailedError) and error.original_status == _UNUSABLE
