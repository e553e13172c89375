"""What a container understands, and how its answers read."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tollgate.domain.catalogue import Deployment
from tollgate.domain.jobs.micro_batches import Mergeable

if TYPE_CHECKING:
    # Few deployments are paid by the token.
    from tollgate.domain.providers.backend import MostTokens


class RenderedRequest(NamedTuple):
    """A body in the words of a model container.

    Attributes:
        most: the tokens that it cannot exceed; only for a provider that is paid by them.
    """

    body: bytes
    content_type: str
    most: "MostTokens | None" = None


class ParsedAnswer(NamedTuple):
    """A container's answer in our words.

    Attributes:
        input_tokens: the whole prompt, with what came from a prompt cache.
        output_tokens: all that was generated, reasoning included.
        cached_input_tokens, reasoning_tokens: the parts of these, where a provider says so.
    """

    output: Any
    input_tokens: int | None
    output_tokens: int | None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None


class Dialect(Protocol):
    """How one kind of model container wants to be spoken to."""

    name: str

    def render(self, payload: Any, parameters: Mapping[str, Any]) -> RenderedRequest:
        """The container's body for this input.

        Raises:
            InvalidRequestError: the input does not suit this kind of container.
        """

    def parse(self, body: bytes) -> ParsedAnswer:
        """The output and, where the container says so, the tokens.

        Raises:
            ModelFailedError: the body is not what such a container answers.
        """


class Dialects(Protocol):
    """All dialects by name."""

    def of(self, deployment: Deployment) -> Dialect:
        """The dialect that the catalogue names.

        Raises:
            CatalogueError: there is no such dialect.
        """


class RequestMerger(Protocol):
    """Requests of one deployment in one body."""

    def mergeable(self, request: RenderedRequest) -> Mergeable | None:
        """With which others a request can go; None where it must go alone."""

    def merge(self, requests: Sequence[RenderedRequest]) -> RenderedRequest:
        """One body for requests with the same key."""

    def split(self, answer: bytes, counts: Sequence[int]) -> Sequence[bytes] | None:
        """The answers to requests that brought so many inputs each; None if the answer has another shape."""
