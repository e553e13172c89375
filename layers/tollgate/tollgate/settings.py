"""Settings of the functions, read from the environment once per execution environment and never logged.

Plain classes instead of pydantic models: the settings are text and whole numbers, and pydantic would add a third to the
start of a function that has no other use for it (docs/decisions/0012-cold-start.md).
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Self


class SettingsError(Exception):
    """The function's environment is incomplete or wrong; it cannot start."""


class Settings:
    """What every function needs. Field `table_jobs` is read from `TABLE_JOBS`, and so on.

    Subclasses annotate further fields as `str` or `int`; those without a default must be set.
    """

    stage: str = "prod"
    log_level: str = "INFO"
    powertools_service_name: str = "tollgate"
    powertools_metrics_namespace: str = "Tollgate"
    aws_region: str = "us-east-1"
    aws_lambda_function_memory_size: int = 256

    def __init__(self, values: Mapping[str, str | int]) -> None:
        vars(self).update(values)

    @classmethod
    def fields(cls) -> dict[str, Any]:
        """Names and types of the fields, those of the base class first."""
        return {
            name: kind
            for owner in reversed(cls.__mro__)
            for name, kind in vars(owner).get("__annotations__", {}).items()
        }

    def faults(self) -> Sequence[str]:
        """Fields whose value has the right type and is wrong all the same; for subclasses to say."""
        return ()

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read and check the settings.

        Raises:
            SettingsError: naming the variables at fault, not their values.
        """
        source = os.environ if environment is None else environment
        values: dict[str, str | int] = {}
        wrong: list[str] = []
        for name, kind in cls.fields().items():
            text = source.get(name.upper())
            try:
                if text is not None:
                    values[name] = kind(text)
                elif not hasattr(cls, name):
                    wrong.append(name)
            except ValueError:
                wrong.append(name)
        settings = cls(values)
        wrong = wrong or list(settings.faults())
        if wrong:
            names = ", ".join(sorted(name.upper() for name in wrong))
            raise SettingsError(f"Environment variables missing or wrong: {names}")
        return settings


class ReconcileSettings(Settings):
    """Settings of the function that reconciles."""

    table_jobs: str
    table_ledger: str
    table_registry: str
    bucket: str
    gateway_log_group: str
    cache_log_group: str
    streaming_log_group: str = ""
    stack_name: str
    account_id: str


class RoadSettings(Settings):
    """Settings of functions that run requests or move jobs along."""

    table_jobs: str
    table_ledger: str
    table_registry: str
    bucket: str


class AsyncSettings(RoadSettings):
    """Settings of functions of the asynchronous road."""

    table_cache: str
    async_queue_url: str


class PlaceSettings(RoadSettings):
    """Settings of the function that puts endpoints to sleep and wakes them."""

    deferred_queue_url: str
    async_queue_url: str


class BatchSettings(RoadSettings):
    """Settings of functions of the batch road."""

    file_retention_days: int
    batch_queue_url: str
    stack_name: str


class InferenceSettings(RoadSettings):
    """Settings of functions that run requests."""

    table_cache: str
    async_queue_url: str


class KeptAnswerSettings(InferenceSettings):
    """Settings of the function that looks after kept answers."""

    sentences_function: str = ""


class ServingSettings(InferenceSettings):
    """Settings of functions whose callers wait for the answer."""

    batch_queue_url: str
    deferred_queue_url: str = ""
    capacity_function: str = ""
    refresh_function: str = ""
    sentences_function: str = ""
    sentences_timeout_ms: int = 150
    alarm_topic_arn: str = ""
    cache_timeout_ms: int = 300
    plan_rate: float = 0
    plan_burst: int = 0


def aws_environment() -> Mapping[str, str]:
    """The variables that AWS clients look at: region, credentials, endpoint overrides."""
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
