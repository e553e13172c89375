"""What tests and the launcher may ask beyond SageMaker: settings, faults, the state, a fresh start."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from local.sagemaker.components import Components
from local.sagemaker.faults import Fault, Faults
from local.sagemaker.fleet import Fleet
from local.sagemaker.settings import Settings
from local.sagemaker.store import OPEN_STATES, Store
from local.sagemaker.transform import Transforms
from local.sagemaker.wire import Json, Reply, Request, ServiceError, json_reply, validation_exception

PREFIX = "/_standin/"
_RECENT = 1000
_TEXT_SETTINGS = {
    "bucket": "bucket",
    "success_topic_arn": "success_topic",
    "error_topic_arn": "error_topic",
}
_NUMBER_SETTINGS = ("model_limit_seconds", "metrics_seconds")
_LOOKS = ("Describe", "List")


class Admin:
    """Answers `/_standin/...`.

    Args:
        store: everything kept.
        settings: what `PUT config` changes.
        faults: what `PUT faults` changes.
        fleet: endpoints.
        components: inference components.
        transforms: transform jobs.
        reseed: makes seeded resources again after settings change.
        reset: forgets everything and seeds again.
        taken: control-plane actions done since the start, by action and name.
    """

    def __init__(
        self,
        *,
        store: Store,
        settings: Settings,
        faults: Faults,
        fleet: Fleet,
        components: Components,
        transforms: Transforms,
        reseed: Callable[[], None],
        reset: Callable[[], None],
        taken: Mapping[tuple[str, str], int],
    ) -> None:
        self._store = store
        self._settings = settings
        self._faults = faults
        self._fleet = fleet
        self._components = components
        self._transforms = transforms
        self._reseed = reseed
        self._reset = reset
        self._taken = taken
        self._since = time.time()
        self._actions: dict[str, Callable[[Request], Json]] = {
            "GET health": self._health,
            "GET state": lambda _: self.state(),
            "GET config": lambda _: self._config(),
            "PUT config": self._configure,
            "GET faults": self._listing,
            "PUT faults": self._replace_faults,
            "POST faults": self._add_faults,
            "DELETE faults": self._clear_faults,
            "POST reset": self._start_afresh,
        }

    def answer(self, request: Request) -> Reply:
        """Answer one request.

        Raises:
            ServiceError: 404 for an unknown path, 400 for a bad body.
        """
        action = f"{request.method} {request.path.removeprefix(PREFIX)}"
        if action not in self._actions:
            raise ServiceError(404, "NotFound", f"{request.method} {request.path} is not served")
        return json_reply(self._actions[action](request))

    def _health(self, _: Request) -> Json:
        return {"status": "ok", "since": self._since}

    def _listing(self, _: Request) -> Json:
        return {"faults": self._faults.listing()}

    def _replace_faults(self, request: Request) -> Json:
        self._faults.replace(_faults(request))
        return self._listing(request)

    def _add_faults(self, request: Request) -> Json:
        self._faults.add(_faults(request))
        return self._listing(request)

    def _clear_faults(self, request: Request) -> Json:
        self._faults.replace([])
        return self._listing(request)

    def _start_afresh(self, _: Request) -> Json:
        self._faults.replace([])
        self._reset()
        return {"status": "ok"}

    def state(self) -> Json:
        """Return everything: endpoints, queues, inferences, components, jobs, faults, and what was ordered of whom."""
        backlog = self._store.backlog()
        gates = self._fleet.gates()
        counts = self._store.inference_counts()
        endpoints = {}
        for name in self._fleet.names():
            states = backlog.get(name, {})
            endpoints[name] = {
                "description": self._fleet.describe(name),
                "queue_depth": sum(states.get(state, 0) for state in OPEN_STATES),
                "async_requests": states,
                "gates": {key: gate for key, gate in gates.items() if key.startswith(f"{name}/")},
                "inferences": counts.get(name, {}),
            }
        return {
            "endpoints": endpoints,
            "inference_components": {name: self._components.describe(name) for name in self._components.names()},
            "inference_counts": counts,
            "inferences": self._store.inferences(_RECENT),
            "async_requests": backlog,
            "transform_jobs": {name: self._transforms.describe(name) for name in self._transforms.every()},
            "faults": self._faults.listing(),
            "actions": self._actions_taken(),
        }

    def _actions_taken(self) -> Json:
        actions: Json = {}
        for (action, name), count in self._taken.items():
            if not action.startswith(_LOOKS):
                actions.setdefault(name, {})[action] = count
        return actions

    def _config(self) -> Json:
        texts = {name: getattr(self._settings, field) for name, field in _TEXT_SETTINGS.items()}
        numbers = {name: getattr(self._settings, name) for name in _NUMBER_SETTINGS}
        return texts | numbers | {"start_seconds": self._settings.start_seconds}

    def _configure(self, request: Request) -> Json:
        document = _object(request)
        unknown = document.keys() - _TEXT_SETTINGS.keys() - {"start_seconds", *_NUMBER_SETTINGS}
        if unknown:
            raise validation_exception(f"Unknown settings: {', '.join(sorted(unknown))}")
        for name, field in _TEXT_SETTINGS.items():
            if name in document:
                setattr(self._settings, field, document[name])
        for name in _NUMBER_SETTINGS:
            if name in document:
                setattr(self._settings, name, float(document[name]))
        times = document.get("start_seconds", {})
        self._settings.start_seconds |= {key: float(value) for key, value in times.items()}
        kept = self._config()
        self._store.put("settings", "config", kept)
        self._reseed()
        return kept


def _object(request: Request) -> Json:
    document = _body(request)
    if not isinstance(document, dict):
        raise validation_exception("Expected an object.")
    return document


def _faults(request: Request) -> list[Fault]:
    document = _body(request)
    rules = document.get("faults", [document]) if isinstance(document, dict) else document
    return [Fault.parse(rule) for rule in rules]


def _body(request: Request) -> Any:
    try:
        return json.loads(request.body or b"{}")
    except ValueError as error:
        raise validation_exception(f"The body is not JSON: {error}") from error
