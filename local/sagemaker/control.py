"""The control plane: JSON 1.1 actions on models, configurations, endpoints, components, jobs and tags."""

import base64
import json
import time
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any

from local.sagemaker.components import Components
from local.sagemaker.faults import Faults
from local.sagemaker.fleet import Fleet
from local.sagemaker.settings import Settings
from local.sagemaker.store import Store
from local.sagemaker.transform import Transforms
from local.sagemaker.wire import Json, Reply, Request, ServiceError, validation_exception

if TYPE_CHECKING:
    from collections.abc import Callable

_PAGE = 10


class Control:
    """Answers control-plane requests.

    Requests are checked against botocore's own service model, so that a wrong one fails here as it would
    there, whatever client sent it.

    Args:
        store: where resources are kept.
        settings: names.
        fleet: endpoints.
        components: inference components.
        transforms: transform jobs.
        faults: failures to inject, by action name.
        taken: counts what was done, by action and name.
    """

    def __init__(
        self,
        *,
        store: Store,
        settings: Settings,
        fleet: Fleet,
        components: Components,
        transforms: Transforms,
        faults: Faults,
        taken: Counter[tuple[str, str]],
    ) -> None:
        self._store = store
        self._settings = settings
        self._fleet = fleet
        self._components = components
        self._transforms = transforms
        self._faults = faults
        self._taken = taken
        self._actions: dict[str, Callable[[Json], Json]] = {
            "CreateModel": self._create_model,
            "DescribeModel": lambda q: self._described("model", q["ModelName"]),
            "DeleteModel": lambda q: self._deleted("model", q["ModelName"]),
            "CreateEndpointConfig": self._create_config,
            "DescribeEndpointConfig": lambda q: self._described("endpoint-config", q["EndpointConfigName"]),
            "DeleteEndpointConfig": lambda q: self._deleted("endpoint-config", q["EndpointConfigName"]),
            "CreateEndpoint": self._create_endpoint,
            "DescribeEndpoint": lambda q: self._fleet.describe(q["EndpointName"]),
            "UpdateEndpoint": self._update_endpoint,
            "UpdateEndpointWeightsAndCapacities": self._scale_endpoint,
            "DeleteEndpoint": self._delete_endpoint,
            "ListEndpoints": self._list_endpoints,
            "CreateInferenceComponent": self._create_component,
            "DescribeInferenceComponent": lambda q: self._components.describe(q["InferenceComponentName"]),
            "UpdateInferenceComponent": self._update_component,
            "UpdateInferenceComponentRuntimeConfig": self._scale_component,
            "DeleteInferenceComponent": self._delete_component,
            "ListInferenceComponents": self._list_components,
            "CreateTransformJob": self._create_transform,
            "DescribeTransformJob": lambda q: self._transforms.describe(q["TransformJobName"]),
            "StopTransformJob": self._stop_transform,
            "ListTransformJobs": self._list_transforms,
            "ListNotebookInstances": lambda _: {"NotebookInstances": []},
            "AddTags": self._add_tags,
            "DeleteTags": self._delete_tags,
            "ListTags": self._list_tags,
        }

    async def answer(self, request: Request) -> Reply:
        """Answer one action.

        Raises:
            ServiceError: ValidationException, ResourceNotFound and their kin, or an injected error.
        """
        action = (request.header("x-amz-target") or "").partition(".")[2]
        handler = self._actions.get(action)
        if handler is None:
            raise ServiceError(400, "UnknownOperationException", f"The operation {action!r} is not served here.")
        try:
            query = json.loads(request.body or b"{}")
        except ValueError as error:
            raise ServiceError(400, "SerializationException", "The body is not JSON.") from error
        self._check(action, query)
        await self._faults.strike(action, _subject(query))
        full = self._faults.take(action, _subject(query), "capacity")
        if full:
            raise ServiceError(400, "ResourceLimitExceeded", full.message)
        body = handler(query)
        self._taken[action, _subject(query)] += 1
        lost = self._faults.take(action, _subject(query), "timeout_after_work", "abandon")
        if lost:
            raise ServiceError(503, "ServiceUnavailable", "The action was taken, the answer is lost.")
        return Reply(200, json.dumps(body).encode(), {"content-type": "application/x-amz-json-1.1"})

    def warm(self) -> None:
        """Read botocore's service model, which takes most of a second, before the first request needs it."""
        self._check("ListEndpoints", {})

    @cached_property
    def _service(self) -> Any:
        from botocore.session import Session  # noqa: PLC0415 - reading the model takes half a second

        return Session().get_service_model("sagemaker")

    def _check(self, action: str, query: Any) -> None:
        from botocore.validate import ParamValidator  # noqa: PLC0415 - as above

        if not isinstance(query, dict):
            raise validation_exception("The body must be an object.")
        report = ParamValidator().validate(query, self._service.operation_model(action).input_shape)
        if report.has_errors():
            raise validation_exception(report.generate_report())

    # Plain documents.

    def _new(self, kind: str, name: str, query: Json) -> str:
        arn = self._settings.arn(kind, name)
        if self._store.get(kind, name):
            raise validation_exception(f"Cannot create already existing {kind.replace('-', ' ')} {arn!r}.")
        member = "ModelArn" if kind == "model" else "EndpointConfigArn"
        document = {key: value for key, value in query.items() if key != "Tags"}
        self._store.put(kind, name, document | {member: arn, "CreationTime": time.time()})
        self._tag(arn, query)
        return arn

    def _described(self, kind: str, name: str) -> Json:
        document = self._store.get(kind, name)
        if document is None:
            what = {"model": "model", "endpoint-config": "endpoint configuration"}[kind]
            raise validation_exception(f"Could not find {what} {self._settings.arn(kind, name)!r}.")
        return document

    def _deleted(self, kind: str, name: str) -> Json:
        self._described(kind, name)
        self._store.delete(kind, name)
        return {}

    def _create_model(self, query: Json) -> Json:
        if not (query.get("PrimaryContainer") or {}).get("Image"):
            raise validation_exception("PrimaryContainer.Image is required.")
        return {"ModelArn": self._new("model", query["ModelName"], query)}

    def _create_config(self, query: Json) -> Json:
        for variant in query["ProductionVariants"]:
            name = variant.get("ModelName")
            if name and self._store.get("model", name) is None:
                raise validation_exception(f"Could not find model {self._settings.arn('model', name)!r}.")
        return {"EndpointConfigArn": self._new("endpoint-config", query["EndpointConfigName"], query)}

    # Endpoints.

    def _create_endpoint(self, query: Json) -> Json:
        # Tags go first: the event of the creation carries them.
        if query["EndpointName"] not in self._fleet.names():
            self._tag(self._settings.arn("endpoint", query["EndpointName"]), query)
        arn = self._fleet.create(query["EndpointName"], query["EndpointConfigName"])
        return {"EndpointArn": arn}

    def _update_endpoint(self, query: Json) -> Json:
        retain = bool(query.get("RetainAllVariantProperties"))
        arn = self._fleet.update(query["EndpointName"], query["EndpointConfigName"], retain=retain)
        return {"EndpointArn": arn}

    def _scale_endpoint(self, query: Json) -> Json:
        return {"EndpointArn": self._fleet.scale(query["EndpointName"], query["DesiredWeightsAndCapacities"])}

    def _delete_endpoint(self, query: Json) -> Json:
        name = query["EndpointName"]
        if any(component["EndpointName"] == name for component in self._store.every("component").values()):
            raise validation_exception(f"Endpoint {name} still has inference components. Delete them first.")
        self._fleet.delete(query["EndpointName"])
        return {}

    def _list_endpoints(self, query: Json) -> Json:
        members = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
        found = [_only(endpoint, members) for endpoint in self._store.every("endpoint").values()]
        return _page(found, query, "Endpoints", "EndpointName", "EndpointStatus")

    # Inference components.

    def _create_component(self, query: Json) -> Json:
        arn = self._components.create(query)
        self._tag(arn, query)
        return {"InferenceComponentArn": arn}

    def _update_component(self, query: Json) -> Json:
        arn = self._components.update(
            query["InferenceComponentName"],
            specification=query.get("Specification"),
            copies=(query.get("RuntimeConfig") or {}).get("CopyCount"),
        )
        return {"InferenceComponentArn": arn}

    def _scale_component(self, query: Json) -> Json:
        copies = query["DesiredRuntimeConfig"]["CopyCount"]
        arn = self._components.update(query["InferenceComponentName"], specification=None, copies=copies)
        return {"InferenceComponentArn": arn}

    def _delete_component(self, query: Json) -> Json:
        self._components.delete(query["InferenceComponentName"])
        return {}

    def _list_components(self, query: Json) -> Json:
        members = (
            "CreationTime",
            "InferenceComponentArn",
            "InferenceComponentName",
            "EndpointArn",
            "EndpointName",
            "VariantName",
            "InferenceComponentStatus",
            "LastModifiedTime",
        )
        found = [_only(component, members) for component in self._store.every("component").values()]
        wanted = query.get("EndpointNameEquals")
        found = [component for component in found if wanted in (None, component["EndpointName"])]
        return _page(found, query, "InferenceComponents", "InferenceComponentName", "InferenceComponentStatus")

    # Transform jobs.

    def _create_transform(self, query: Json) -> Json:
        # Tags go first: the event of the creation carries them.
        name = query["TransformJobName"]
        if name not in self._transforms.every():
            self._tag(self._settings.arn("transform-job", name), query)
        return {"TransformJobArn": self._transforms.create(query)}

    def _stop_transform(self, query: Json) -> Json:
        self._transforms.stop(query["TransformJobName"])
        return {}

    def _list_transforms(self, query: Json) -> Json:
        members = (
            "TransformJobName",
            "TransformJobArn",
            "CreationTime",
            "TransformEndTime",
            "LastModifiedTime",
            "TransformJobStatus",
            "FailureReason",
        )
        found = [_only(job, members) for job in self._transforms.every().values()]
        return _page(found, query, "TransformJobSummaries", "TransformJobName", "TransformJobStatus")

    # Tags.

    def _tag(self, arn: str, query: Json) -> None:
        if query.get("Tags"):
            self._add_tags({"ResourceArn": arn, "Tags": query["Tags"]})

    def _add_tags(self, query: Json) -> Json:
        arn = query["ResourceArn"]
        tags = self._tags(arn) | {tag["Key"]: tag["Value"] for tag in query["Tags"]}
        self._store.put("tags", arn, {"tags": tags})
        return {"Tags": _tag_list(tags)}

    def _delete_tags(self, query: Json) -> Json:
        gone = set(query["TagKeys"])
        tags = {key: value for key, value in self._tags(query["ResourceArn"]).items() if key not in gone}
        self._store.put("tags", query["ResourceArn"], {"tags": tags})
        return {}

    def _list_tags(self, query: Json) -> Json:
        return {"Tags": _tag_list(self._tags(query["ResourceArn"]))}

    def _tags(self, arn: str) -> dict[str, str]:
        return dict((self._store.get("tags", arn) or {}).get("tags", {}))


def _subject(query: Json) -> str:
    for member in ("EndpointName", "TransformJobName", "InferenceComponentName", "ModelName"):
        if isinstance(query.get(member), str):
            return str(query[member])
    return ""


def _tag_list(tags: dict[str, str]) -> list[Json]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _only(document: Json, members: tuple[str, ...]) -> Json:
    return {member: document[member] for member in members if member in document}


def _page(found: list[Json], query: Json, member: str, name: str, status: str) -> Json:
    """Filter, sort and cut a listing; the token is the position, encoded."""
    part, wanted = query.get("NameContains", ""), query.get("StatusEquals")
    rows = [row for row in found if part in row[name] and wanted in (None, row[status])]
    key = {"Name": name, "Status": status}.get(query.get("SortBy", ""), "CreationTime")
    rows.sort(key=lambda row: row[key], reverse=query.get("SortOrder", "Descending") == "Descending")
    start = int(base64.b64decode(query["NextToken"])) if query.get("NextToken") else 0
    end = start + int(query.get("MaxResults", _PAGE))
    more = {"NextToken": base64.b64encode(str(end).encode()).decode()} if end < len(rows) else {}
    return {member: rows[start:end], **more}
