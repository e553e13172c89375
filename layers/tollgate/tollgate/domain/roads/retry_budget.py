"""How many second tries are allowed: a token bucket that real requests fill.

Every request earns a tenth of a token and every second try takes a whole one. Whatever fails, an environment therefore
sends at most 1.1 times its requests, and what the bucket holds on top, once: no storm of retries can keep a struggling
backend down. (Finagle's retry budgets; https://sre.google/sre-book/handling-overload/ allows 10 % as well.)
"""

EARNED_PER_REQUEST = 0.1
MOST_TOKENS = 10.0
FIRST_TOKENS = 1.0


class RetryTokens:
    """The bucket of one execution environment."""

    __slots__ = ("_tokens",)

    def __init__(self, tokens: float = FIRST_TOKENS) -> None:
        self._tokens = tokens

    @property
    def tokens(self) -> float:
        """What is left."""
        return self._tokens

    def earn(self) -> None:
        """A request has come."""
        if self._tokens < MOST_TOKENS:
            self._tokens = min(MOST_TOKENS, self._tokens + EARNED_PER_REQUEST)

    def take(self) -> bool:
        """Whether one second try is allowed; if so, it is paid for."""
        # The sum of ten tenths is a little less than one.
        if self._tokens < 1.0 - 1e-9:
            return False
        self._tokens = max(0.0, self._tokens - 1.0)
        return True
