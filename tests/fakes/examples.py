"""Jobs, a catalogue and prices to test with."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tollgate.domain.catalogue import (
    AsyncPolicy,
    BatchPolicy,
    Catalogue,
    Deployment,
    InferenceType,
    Model,
    Road,
    Tier,
    Timing,
)
from tollgate.domain.costs.pricing import GatewayPrices
from tollgate.domain.jobs.job import Job, JobState, Owner, Payload

OWNER = Owner(tenant="acme", key_id="key_1", team="search", scopes=frozenset({"infer", "read"}))

PRICES = GatewayPrices(
    api_request=Decimal("0.0000035"),
    lambda_request=Decimal("0.0000002"),
    lambda_gb_second=Decimal("0.0000133334"),
    table_read_unit=Decimal("0.000000125"),
    table_write_unit=Decimal("0.000000625"),
    queue_request=Decimal("0.0000004"),
    topic_request=Decimal("0.0000005"),
    bucket_put=Decimal("0.000005"),
    bucket_get=Decimal("0.0000004"),
    log_gb=Decimal("0.5"),
)


def make_job(job_id: str = "inf_1", **changes: Any) -> Job:
    """A queued asynchronous job of the example model."""
    values: dict[str, Any] = {
        "job_id": job_id,
        "owner": OWNER,
        "model": "echo",
        "deployment": "small",
        "inference_type": InferenceType.ASYNC,
        "state": JobState.QUEUED,
        "created_at": datetime(2026, 3, 1, 12, tzinfo=UTC),
        "route_reason": "priority=medium",
        "estimated_cost": Decimal("0.000012"),
        "input": Payload(inline="hello there"),
        "catalogue_version": 1,
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    return Job(**values | changes)


def make_catalogue(*, batch: BatchPolicy | None = None, **road_changes: Any) -> Catalogue:
    """One model `echo` with one deployment `small` on all three roads."""
    roads = {
        InferenceType.REALTIME: _road(InferenceType.REALTIME, "tollgate-echo-realtime", {}),
        InferenceType.ASYNC: _road(InferenceType.ASYNC, "tollgate-echo-async", road_changes),
        InferenceType.BATCH: _road(InferenceType.BATCH, "tollgate-echo", road_changes),
    }
    deployment = Deployment(
        name="small", model="echo", tier=Tier.SMALL, dialect="inputs", timing=Timing(base_seconds=0.5), roads=roads
    )
    model = Model(
        name="echo",
        deployments=(deployment,),
        batch=batch or BatchPolicy(max_records=4, max_age_seconds=300, records_per_file=2),
        asynchronous=AsyncPolicy(request_ttl_seconds=3_600, invocation_timeout_seconds=600),
    )
    return Catalogue(version=1, region="us-east-1", models={"echo": model}, gateway_prices=PRICES)


def _road(inference_type: InferenceType, target: str, changes: dict[str, Any]) -> Road:
    values: dict[str, Any] = {
        "inference_type": inference_type,
        "target": target,
        "instance_type": "ml.m5.large",
        "usd_per_hour": Decimal("0.115"),
        "utilisation": Decimal("0.25") if inference_type is InferenceType.REALTIME else Decimal(1),
    }
    return Road(**values | changes)
