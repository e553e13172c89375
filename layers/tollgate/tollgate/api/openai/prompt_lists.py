"""Completions of several prompts in one call: each is routed, cached and paid for by itself, and all are one answer.

https://platform.openai.com/docs/api-reference/completions/create#completions-create-prompt
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from tollgate.api.http import Answer, Call, json_answer
from tollgate.api.job_rendering import job_headers
from tollgate.api.openai.answers import Served, served_by_job, served_now
from tollgate.api.openai.ending import INFERENCES, NO_RETRY, POLL_SECONDS, fitting, unfinished, wants_async
from tollgate.api.problems import problem_answer
from tollgate.api.rendering import trail_headers
from tollgate.api.repeating import once, replay_headers
from tollgate.domain.errors import InvalidRequestError, ModelFailedError, TollgateError
from tollgate.domain.generated import choices_in
from tollgate.domain.jobs.job import JobState, Usage
from tollgate.domain.money import usd_text
from tollgate.services.jobs.wait import JobWaiter
from tollgate.services.requests.answer_all import Part, sum_of_usage
from tollgate.services.requests.answer_request import InferenceService
from tollgate.services.requests.idempotency import Idempotency
from tollgate.services.requests.plan import Accepted, InferenceRequest
from tollgate.services.requests.trail import Trail

_COSTS = ("x-tollgate-cost-usd", "x-tollgate-avoided-cost-usd")


class PromptList:
    """Answers calls with several prompts.

    Args:
        wait_seconds: that a caller waits for jobs.
    """

    def __init__(
        self, inference: InferenceService, idempotency: Idempotency, waiter: JobWaiter, wait_seconds: float
    ) -> None:
        self._inference = inference
        self._idempotency = idempotency
        self._waiter = waiter
        self._wait_seconds = wait_seconds

    def answer(
        self,
        call: Call,
        trail: Trail,
        requests: Sequence[InferenceRequest],
        tier: str | None,
        *,
        choices: int,
        render: Callable[[Served], Answer],
    ) -> Answer:
        """The answer to all of them, when the last one is there.

        Args:
            call: the call.
            trail: of the call.
            requests: one for each prompt, of the same model.
            tier: the service tier that was asked for.
            choices: that every prompt was to get.
            render: writes the answer, with the choices of all prompts in a row.

        Raises:
            TollgateError: what is wrong with one of the requests, or with serving it.
        """
        if wants_async(call):
            raise InvalidRequestError(
                "A list of prompts is no single job: send one prompt with 'Prefer: respond-async', or a batch.",
                param="prompt",
            )
        model = requests[0].model

        def begin() -> Answer:
            parts = self._inference.infer_all(requests, trail)
            if not any(isinstance(part.result, Accepted) for part in parts):
                served = [_served(part, model, tier) for part in parts]
                return fitting(call, render(_as_one(served, choices)))
            # What is kept for a repetition, which then waits for the same jobs.
            begun = {"parts": [_begun(part, model, tier) for part in parts], **_costs_now(parts)}
            return json_answer(202, begun, {"Retry-After": str(POLL_SECONDS)})

        begun = once(self._idempotency, call, trail, begin)
        return begun if begun.status != 202 else self._waited(call, trail, begun, choices, render)

    def _waited(
        self, call: Call, trail: Trail, begun: Answer, choices: int, render: Callable[[Served], Answer]
    ) -> Answer:
        document = json.loads(begun.body)
        replayed = replay_headers(begun)
        costs = {name: Decimal(document[name]) for name in _COSTS}
        until = trail.started + self._wait_seconds
        headers: dict[str, str] = {}
        try:
            served: list[Served] = []
            for part in document["parts"]:
                if "job" not in part:
                    served.append(_read(part))
                    continue
                job = self._waiter.wait(call.owner, part["job"], until=until)
                told = job_headers(job)
                costs = {name: amount + Decimal(told[name]) for name, amount in costs.items()}
                headers |= told | {"x-tollgate-job-id": job.job_id}
                if job.state is not JobState.COMPLETED:
                    headers["Location"] = INFERENCES + job.job_id
                    raise unfinished(job)
                served.append(served_by_job(job, self._waiter.output(job)))
            answer = fitting(call, render(_as_one(served, choices)))
        except TollgateError as error:
            answer = problem_answer(error)
            headers |= NO_RETRY
        paid = replayed or {name: usd_text(cost) for name, cost in costs.items()}
        return Answer(answer.status, answer.body, {**answer.headers, **headers, **paid})


def _served(part: Part, model: str, tier: str | None) -> Served:
    if isinstance(part.result, Accepted):
        raise TypeError("it is not answered yet")
    return served_now(part.result, part.trail, model, tier)


def _begun(part: Part, model: str, tier: str | None) -> dict[str, Any]:
    if isinstance(part.result, Accepted):
        return {"job": part.result.job.job_id}
    served = _served(part, model, tier)
    return {
        "id": served.inference_id,
        "created_at": served.created_at.isoformat(),
        "model": model,
        "output": served.output,
        "usage": list(served.usage),
        "tier": served.tier,
        "fingerprint": served.fingerprint,
    }


def _read(part: Mapping[str, Any]) -> Served:
    return Served(
        inference_id=part["id"],
        created_at=datetime.fromisoformat(part["created_at"]),
        model=part["model"],
        output=part["output"],
        usage=Usage(*part["usage"]),
        tier=part["tier"],
        fingerprint=part["fingerprint"],
    )


def _costs_now(parts: Sequence[Part]) -> dict[str, str]:
    """What the prompts that were answered at once have cost; jobs tell theirs themselves."""
    told = [trail_headers(part.trail) for part in parts if not isinstance(part.result, Accepted)]
    return {name: str(sum((Decimal(headers[name]) for headers in told), Decimal(0))) for name in _COSTS}


def _as_one(parts: Sequence[Served], choices: int) -> Served:
    """The choices of all prompts in a row: choice `j` of prompt `i` has the index `i * choices + j`.

    Raises:
        ModelFailedError: a prompt has another number of choices, so nobody could tell whose they are.
    """
    flat: list[dict[str, Any]] = []
    for part in parts:
        found = choices_in(part.output)
        if len(found) != choices:
            raise ModelFailedError(
                f"The model container gave {len(found)} choices for a prompt instead of {choices}.", original_status=502
            )
        flat += [
            {"text": choice.text, "finish_reason": choice.finish_reason, "logprobs": choice.logprobs}
            for choice in found
        ]
    first = parts[0]
    return Served(
        inference_id=first.inference_id,
        created_at=first.created_at,
        model=first.model,
        output={"choices": flat},
        usage=sum_of_usage([part.usage for part in parts]),
        tier="flex" if any(part.tier == "flex" for part in parts) else first.tier,
        fingerprint=first.fingerprint,
    )
