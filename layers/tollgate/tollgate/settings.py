"""Settings of the functions, read from the environment once per execution environment and never logged."""

import os
from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError


class SettingsError(Exception):
    """The function's environment is incomplete or wrong; it cannot start."""


class Settings(BaseModel):
    """What every function needs. Field `table_jobs` is read from `TABLE_JOBS`, and so on."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    stage: str = "prod"
    log_level: str = "INFO"
    powertools_service_name: str = "tollgate"
    powertools_metrics_namespace: str = "Tollgate"
    aws_region: str = "us-east-1"
    aws_lambda_function_memory_size: int = 256

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read and check the settings.

        Raises:
            SettingsError: naming the variables at fault, not their values.
        """
        source = os.environ if environment is None else environment
        values = {name: source[name.upper()] for name in cls.model_fields if name.upper() in source}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            names = ", ".join(sorted({str(e["loc"][0]).upper() for e in error.errors()}))
            raise SettingsError(f"Environment variables missing or wrong: {names}") from None


def aws_environment() -> Mapping[str, str]:
    """The variables that AWS clients look at: region, credentials, endpoint overrides."""
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
