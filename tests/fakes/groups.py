"""The asynchronous road with a deployment that takes several requests in one invocation."""

import json
from copy import replace

from tests.fakes.async_road import AsyncRoad
from tests.fakes.crashes import CrashPoint
from tests.fakes.examples import make_catalogue, make_job
from tollgate.domain.catalogue import Catalogue
from tollgate.domain.jobs.job import JobState, Payload
from tollgate.domain.jobs.micro_batches import MicroBatchPolicy
from tollgate.services.jobs.async_notice import AsyncNotice

POLICY = MicroBatchPolicy(max_requests=16, max_bytes=10_000, max_seconds=10)


def group_catalogue(policy: MicroBatchPolicy | None = POLICY) -> Catalogue:
    catalogue = make_catalogue()
    model = catalogue.model("echo")
    (deployment,) = model.deployments
    changed = replace(model, deployments=(replace(deployment, micro_batch=policy),))
    return replace(catalogue, models={"echo": changed})


def group_road(count: int, policy: MicroBatchPolicy | None = POLICY) -> AsyncRoad:
    road = AsyncRoad(group_catalogue(policy))
    for number in range(count):
        road.jobs.add(make_job(f"inf_{number}", input=Payload(inline=f"text {number}")))
    return road


def waiting_ids(road: AsyncRoad) -> list[str]:
    return [job_id for job_id, job in road.jobs.jobs.items() if job.state is JobState.QUEUED]


def run_groups(road: AsyncRoad, *, poison: str = "", point: CrashPoint | None = None) -> None:
    """SageMaker works through what was submitted: a list in, a list out, nothing for a body with poison in it."""
    while road.backend.submitted:
        inference_id, body, *_ = road.backend.submitted.pop(0)
        inputs = json.loads(body)["inputs"]
        texts = [inputs] if isinstance(inputs, str) else inputs
        began = road.clock.now()
        road.clock.advance(2)
        bad = bool(poison) and any(poison in text for text in texts)
        location = None
        if not bad:
            location = road.answer(inference_id, json.dumps([text.upper() for text in texts]).encode())
        notice = AsyncNotice(
            inference_id=inference_id,
            completed=not bad,
            received_at=began,
            finished_at=road.clock.now(),
            output_location=location,
            failure_reason="ModelError" if bad else None,
        )
        for _ in range(2):
            road.completion(point).notice(notice)
