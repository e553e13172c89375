"""A real-time call whose answer the caller sees as it is made."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from tollgate.domain.errors import BackendError
from tollgate.domain.jobs.job import Usage
from tollgate.domain.prompt import estimate_input_tokens
from tollgate.ports.backends import ModelAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tollgate.domain.catalogue import Road
    from tollgate.ports.streams import LiveAnswer, StreamForms, StreamingBackend, StreamReader
    from tollgate.ports.system import Clock
    from tollgate.ports.token_backends import TokenBackends
    from tollgate.services.requests.plan import Plan
    from tollgate.services.requests.trail import Trail


class StreamingRun:
    """Passes the answer on piece by piece while the container makes it, and returns the whole.

    What follows is the same as for any real-time call: the answer is parsed, priced, settled and cached. `providers`
    stream what is paid by the token.
    """

    def __init__(
        self,
        *,
        backend: StreamingBackend,
        forms: StreamForms,
        clock: Clock,
        providers: Callable[[], TokenBackends] | None = None,
    ) -> None:
        self._backend = backend
        self._forms = forms
        self._clock = clock
        self._providers = providers

    @staticmethod
    def suits(plan: Plan, road: Road) -> bool:
        """Whether a caller may see the answer before it is complete.

        Not if it must pass a check first. Nor can SageMaker stream from a multi-model endpoint: the operation takes no
        target model. https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpointWithResponseStream.html
        """
        return road.target_model is None and (plan.chosen is None or plan.chosen.cascade is None)

    def invoke(self, plan: Plan, road: Road, trail: Trail, *, inference_id: str, timeout_seconds: float) -> ModelAnswer:
        """The whole answer, or as much of it as there was when the caller hung up.

        Raises:
            ModelFailedError, CapacityError, BackendThrottledError, BackendTimeoutError, BackendError: as
                `RealtimeBackend.invoke`. If the caller has seen a part, `answer_begun` is set and the trail has the
                tokens of that part.
        """
        live = trail.live
        if live is None:
            raise ValueError("nobody watches this request")
        backend, forms = self._backend, self._forms
        if road.tokens is not None and self._providers is not None:
            backend, forms = self._providers().streaming(road), self._providers().forms(road)
        reader, began = forms.reader(), self._clock.monotonic()
        rendered = plan.rendered
        pieces = backend.open(
            road,
            forms.ask(rendered.body),
            rendered.content_type,
            timeout_seconds=timeout_seconds,
            trace=trail.traceparent,
        )
        try:
            with closing(pieces):
                watched = all(self._show(live, inference_id, reader, piece) for piece in pieces)
            if watched:
                live.show(inference_id, self._clock.now(), reader.end())
            else:
                # Whoever hung up pays for what ran; the container stops when its connection is closed.
                trail.caller_gone = True
                trail.route_reason += ";caller_gone"
                reader.cut()
        except BackendError as error:
            error.answer_begun = live.begun
            if live.begun:
                trail.usage, trail.usage_reported = _counted(reader, plan), False
            raise
        said = reader.usage()
        if None in {said.input_tokens, said.output_tokens}:
            live.estimated()
            trail.usage_reported = False
        elif not watched:
            # Some containers count as they go; how far the model went after the last piece, nobody hears.
            trail.usage_reported = False
        return ModelAnswer(
            body=reader.whole(_counted(reader, plan)),
            content_type="application/json",
            seconds=self._clock.monotonic() - began,
        )

    def _show(self, live: LiveAnswer, inference_id: str, reader: StreamReader, piece: bytes) -> bool:
        deltas = reader.feed(piece)
        return not deltas or live.show(inference_id, self._clock.now(), deltas)


def _counted(reader: StreamReader, plan: Plan) -> Usage:
    """Tokens as the container told them, maybe at the end only; otherwise an estimated prompt, and the pieces."""
    said = reader.usage()
    read = said.input_tokens
    made = said.output_tokens
    return Usage(
        estimate_input_tokens(plan.request.input) if read is None else read,
        reader.pieces if made is None else made,
        said.cached_input_tokens,
        said.reasoning_tokens,
    )
