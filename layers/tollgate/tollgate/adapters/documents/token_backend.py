"""The stored form of a road's provider that is paid by the token. Rates are strings, so that they stay exact."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tollgate.domain.providers.backend import Provider, TokenBackend
from tollgate.domain.providers.prices import BucketRates


def token_backend_document(backend: TokenBackend) -> dict[str, Any]:
    """The stored form."""
    return {
        "provider": backend.provider.value,
        "max_output_tokens": backend.max_output_tokens,
        "url": backend.url,
        "api_key_parameter": backend.api_key_parameter,
        "interactive": _amounts(backend.rates),
    }


def token_backend_from_document(entry: Mapping[str, Any]) -> TokenBackend:
    """The provider of a stored document."""
    return TokenBackend(
        provider=Provider(entry["provider"]),
        rates=_rates(entry["interactive"]),
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
