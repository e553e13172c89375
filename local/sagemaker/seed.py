"""The models and endpoints that exist from the start, from a TOML file."""

import logging
import time
import tomllib
from pathlib import Path

from local.sagemaker.fleet import Fleet
from local.sagemaker.models import container_for
from local.sagemaker.models.base import ContainerError
from local.sagemaker.settings import Settings
from local.sagemaker.store import Store
from local.sagemaker.wire import Json

_log = logging.getLogger(__name__)
DEFAULT_FILE = Path(__file__).parents[1] / "sagemaker.toml"


class Seed:
    """Makes what the file lists and is not there yet; may be applied any number of times.

    Every model becomes a SageMaker Model `PREFIX-NAME` (for transform jobs), an endpoint `PREFIX-NAME-realtime` and,
    once a bucket is known, an endpoint `PREFIX-NAME-async`. The endpoints are in service at once, as if they had been
    there all along.

    Args:
        file: the TOML file.
        store: where resources are kept.
        settings: names, bucket and topics; the file's start-up times are put into it.
        fleet: creates the endpoints.
    """

    def __init__(self, file: Path, store: Store, settings: Settings, fleet: Fleet) -> None:
        document = tomllib.loads(file.read_text())
        self._models: dict[str, Json] = document.get("models", {})
        self._prefix: str = document.get("prefix", "tollgate")
        self._store = store
        self._settings = settings
        self._fleet = fleet
        settings.start_seconds |= document.get("start_seconds", {})

    def apply(self) -> None:
        """Make what is missing, and give async endpoints the bucket and topics of now."""
        for name, model in self._models.items():
            self._model(f"{self._prefix}-{name}", name, model)
            self._endpoint(f"{self._prefix}-{name}", "realtime", model, None)
            if self._settings.bucket:
                self._endpoint(f"{self._prefix}-{name}", "async", model, self._async_config(name, model))

    def preload(self) -> None:
        """Read the weights of the models that ask for it, so that their first request need not. Blocking."""
        for name, model in self._models.items():
            container = container_for(_image(name, model)) if model.get("preload") else None
            if container is None:
                continue
            try:
                container.warm()
            except (ContainerError, ImportError) as error:
                _log.warning("%s is not preloaded: %s", name, error)

    def _model(self, model_name: str, name: str, model: Json) -> None:
        if self._store.get("model", model_name):
            return
        environment = {key: str(value) for key, value in model.get("environment", {}).items()}
        container = {"Image": _image(name, model), "Environment": environment}
        document = {
            "ModelName": model_name,
            "ModelArn": self._settings.arn("model", model_name),
            "PrimaryContainer": container,
            "CreationTime": time.time(),
        }
        self._store.put("model", model_name, document)

    def _endpoint(self, model_name: str, road: str, model: Json, async_config: Json | None) -> None:
        name = f"{model_name}-{road}"
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": model_name,
            "InstanceType": model.get("instance_type", "ml.m5.large"),
            "InitialInstanceCount": model.get(f"{road}_instances", 1),
            "InitialVariantWeight": 1.0,
        }
        config: Json = {
            "EndpointConfigName": name,
            "EndpointConfigArn": self._settings.arn("endpoint-config", name),
            "ProductionVariants": [variant],
            "CreationTime": time.time(),
        }
        if async_config:
            config["AsyncInferenceConfig"] = async_config
        known = self._store.get("endpoint-config", name)
        if known is None:
            self._store.put("endpoint-config", name, config)
        elif async_config and known.get("AsyncInferenceConfig") != async_config:
            self._store.put("endpoint-config", name, known | {"AsyncInferenceConfig": async_config})
        endpoint = self._store.get("endpoint", name)
        if endpoint is None:
            self._fleet.install(name, name)
        elif async_config:
            # Only the topics and the bucket change, which needs no new instances.
            self._store.put("endpoint", name, endpoint | {"AsyncInferenceConfig": async_config})

    def _async_config(self, name: str, model: Json) -> Json:
        topics = {"SuccessTopic": self._settings.success_topic, "ErrorTopic": self._settings.error_topic}
        root = f"s3://{self._settings.bucket}/async-output/{name}/"
        output: Json = {"S3OutputPath": root, "S3FailurePath": root}
        if any(topics.values()):
            output["NotificationConfig"] = {key: value for key, value in topics.items() if value}
        config: Json = {"OutputConfig": output}
        if "async_concurrency" in model:
            config["ClientConfig"] = {"MaxConcurrentInvocationsPerInstance": model["async_concurrency"]}
        return config


def _image(name: str, model: Json) -> str:
    image: str = model.get("image", f"tollgate/{name}")
    return image
