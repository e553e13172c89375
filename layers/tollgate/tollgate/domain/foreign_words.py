"""What somebody else said, before a caller or a log sees it: without secrets, and not at length.

Whatever quotes a provider, a model container or AWS goes through here. Providers repeat keys, containers repeat the
addresses that they read from, AWS names roles and parameters. The words around a secret stay: they say what is wrong.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache

SHOWN_CHARACTERS = 300
_MASK = "***"
_SEARCHED_CHARACTERS = 16_384
"""Patterns look no further: nobody is shown what is so far behind."""

_KEY = r"(?:api|access|secret|account|private|subscription)[-_ ]?(?:access[-_ ]?)?key(?:[-_ ]?id)?"
_OTHER = (
    r"(?:access|auth|bearer|id|refresh|security|session)[-_ ]token|(?:client[-_ ])?secret|signature|passw(?:or)?d"
    "|authorization"
)
_VALUE = r"(?:(?:bearer|basic|digest|token|api-?key)\s+)?[^\s\"'`,;&<>]+"
_QUOTE = r"\\{0,3}[\"'`]"
"""As it is, or within a text that was quoted itself."""
_SECRETS: tuple[tuple[str, str], ...] = (
    # Keys of many lines, to their end or to that of the words.
    (r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)[\s\S]*?(?=-----END|\Z)", rf"\1{_MASK}"),
    # api_key=..., "api-key": "...", API key provided: ..., API key '...'
    (
        rf"((?:{_KEY}|{_OTHER})(?:(?:{_QUOTE})?(?:\s\w+)?\s?[:=]\s?(?:{_QUOTE})?|\s{_QUOTE}))(?!\s){_VALUE}",
        rf"\1{_MASK}",
    ),
    (r"\b(bearer\s)(?!(?:auth\w*|token|scheme|header|format|is|was|must)\b)[^\s\"'`,;&<>]+", rf"\1{_MASK}"),
    # https://user:password@host, and addresses that are signed
    (r"(://)[^\s/@]+@", rf"\1{_MASK}@"),
    (r"([?&](?:key|token|sig|code|x-amz-[a-z-]+)=)[^\s&\"'<>]+", rf"\1{_MASK}"),
    # Names and accounts of AWS; parameters of the Parameter Store, which are paths.
    (r"\barn:aws[a-z-]*:[^\s\"',;<>]+", _MASK),
    (r"(\bparameter:?\s[\"'`]?)/[\w./-]+", rf"\1{_MASK}"),
    # What looks like a key: by how it begins, a signed token, a long run of letters and digits.
    (r"\b(?:[spr]k[-_]|(?:gsk|hf|tg|gh[opsu]|r8|whsec)_|(?:glpat|nvapi|pplx|xai)-)[\w.*-]{8,}", _MASK),
    (r"\b(?:AKIA|ASIA|AIza)[\w-]{12,}", _MASK),
    (r"(?<![\w-])eyJ[\w-]{5,}\.[\w.-]+", _MASK),
    (r"\b(?=[a-z_]*\d)(?=\d*[a-z_])\w{32,}", _MASK),
)


@cache
def _patterns() -> Sequence[tuple[re.Pattern[str], str]]:
    # Ten milliseconds that no cold start pays: few functions ever quote anybody.
    return [(re.compile(pattern, re.IGNORECASE), shown) for pattern, shown in _SECRETS]


def quoted(said: str, hidden: Iterable[str] = (), *, most: int = SHOWN_CHARACTERS) -> str:
    """The words without what must stay secret.

    Args:
        said: by somebody else.
        hidden: secrets that the gateway knows; they may look like any other word.
        most: characters.
    """
    # Cut last: half a secret is none that could be recognised.
    for secret in hidden:
        if secret:
            said = said.replace(secret, _MASK)
    said = said[:_SEARCHED_CHARACTERS]
    for pattern, shown in _patterns():
        said = pattern.sub(shown, said)
    return said[:most]
