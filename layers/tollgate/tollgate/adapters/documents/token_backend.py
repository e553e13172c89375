"""The stored form of a road's provider that is paid by the token. Rates are strings, so that they stay exact."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tollgate.domain.providers.backend import Provider, TokenBackend
from tollgate.domain.providers.prices import BucketRates, TokenRates


def token_backend_document(backend: TokenBackend) -> dict[str, Any]:
    """The stored form."""
    rates = backend.rates
    return {
        "provider": backend.provider.value,
        "max_output_tokens": backend.max_output_tokens,
        "url": backend.url,
        "api_key_parameter": backend.api_key_parameter,
        "interactive": _amounts(rates.interactive),
        "batch": None if rates.batch is None else _amounts(rates.batch),
    }


def token_backend_from_document(entry: Mapping[str, Any]) -> TokenBackend:
    """The provider of a stored document."""
    batch = entry["batch"]
    return TokenBackend(
        provider=Provider(entry["provider"]),
        rates=TokenRates(_rates(entry["interactive"]), None if batch is None else _rates(batch)),
        max_output_tokens=int(entry["max_output_tokens"]),
        url=entry["url"],
        api_key_parameter=entry["api_key_parameter"],
    )


def _amounts(rates: BucketRates) -> dict[str, str]:
    named = {
        "input": rates.input,
        "output": rates.output,
        "cached_input": rates.cached_input,
        "reasoning": rates.reasoning,
    }
    return {name: str(rate) for name, rate in named.items() if rate is not None}


def _rates(entry: Mapping[str, str]) -> BucketRates:
    return BucketRates(**{name: Decimal(text) for name, text in entry.items()})
