"""Cold start is a product feature: what the hot functions must not import."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HOT = ("gateway", "authorizer", "jobs")
# Each of these costs a cold start more than a millisecond, or brings modules that do.
HEAVY = set(
    "asyncio ctypes dataclasses email html http inspect ipaddress multiprocessing pathlib random socket ssl subprocess "
    "tempfile urllib uuid xml zipfile".split()
)
PACKAGES = {
    "gateway": {"awscrt", "_awscrt"},
    "authorizer": {"awscrt", "_awscrt"},
    "jobs": {"awscrt", "_awscrt"},
}
OURS = {"tollgate", "functions"}


def _printed(program: str, *paths: Path) -> list[str]:
    """The words that a program prints with a function's environment."""
    environment = {
        "PYTHONPATH": ":".join(map(str, (*paths, ROOT / "layers" / "tollgate", ROOT))),
        "AWS_REGION": "us-east-1",
        "TABLE_JOBS": "j",
        "TABLE_CACHE": "c",
        "TABLE_REGISTRY": "r",
        "TABLE_LEDGER": "l",
        "ALARM_TOPIC_ARN": "t",
        "BUCKET": "b",
        "ASYNC_QUEUE_URL": "http://127.0.0.1/q",
        "BATCH_QUEUE_URL": "http://127.0.0.1/q",
        "DEFERRED_QUEUE_URL": "http://127.0.0.1/q",
        "CAPACITY_FUNCTION": "tollgate-capacity",
        "FILE_RETENTION_DAYS": "30",
    }
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # noqa: S603 -- our own program
    return done.stdout.split()


@cache
def _imported(function: str) -> frozenset[str]:
    """What is imported when the module is and its service is built, beyond what Python itself starts with."""
    return frozenset(
        _printed(
            "import sys; before = set(sys.modules)\n"
            f"import functions.{function}.app as app\n"
            "app._service()\n"
            "print(*(set(sys.modules) - before))"
        )
    )


@pytest.mark.parametrize("function", [*HOT, "usage", "files_batches"])
def test_the_service_is_built_while_lambda_starts_the_function(function: str) -> None:
    """And not by the first request, which has less CPU; who imports the module otherwise builds nothing."""
    built = "print(app._service.cache_info().currsize)"
    assert _printed(f"import app; {built}", ROOT / "functions" / function) == ["1"]
    assert _printed(f"import functions.{function}.app as app; {built}") == ["0"]


@pytest.mark.parametrize("function", HOT)
def test_hot_functions_import_few_packages(function: str) -> None:
    """Nothing but awscrt: no boto3, Powertools, pydantic or its core."""
    packages = {name.partition(".")[0] for name in _imported(function)} - sys.stdlib_module_names
    assert packages - OURS <= PACKAGES[function]


@pytest.mark.parametrize("function", HOT)
def test_hot_functions_import_nothing_heavy(function: str) -> None:
    """Of the standard library either."""
    assert {name.partition(".")[0] for name in _imported(function)} & HEAVY == set()


def test_a_cache_hit_imports_nothing_heavy() -> None:
    """What the first hit imports, which Lambda gives less CPU than the start."""
    program = (
        "import sys, functions.gateway.app as app, tollgate.adapters.documents.cache_policy\n"
        "app.GatewayParts(app.GatewaySettings.load()).answers\n"
        "print(*sys.modules)"
    )
    assert HEAVY.isdisjoint(_printed(program))


def test_a_plain_chat_request_imports_nothing_heavy() -> None:
    """Pydantic's core, which checks other bodies, would be a fifth of a cold start."""
    program = (
        "import sys, functions.gateway.app, tollgate.api.openai.routes\n"
        "from tollgate.api.openai.plain_chat import read_chat\n"
        "read_chat({'model': 'm', 'messages': [{'role': 'user', 'content': 'Hello'}], 'max_tokens': 9})\n"
        "print(*sys.modules)"
    )
    imported = {name.partition(".")[0] for name in _printed(program)}
    assert HEAVY.isdisjoint(imported)
    assert imported - sys.stdlib_module_names - {"__main__"} <= OURS | PACKAGES["gateway"]


@pytest.mark.parametrize("function", HOT)
def test_starting_is_not_interrupted_to_look_for_garbage(function: str) -> None:
    """There is none among what is imported; by Python's own limit there would be six to ten collections."""
    program = (
        "import gc; before = gc.get_stats()[0]['collections']\n"
        f"import functions.{function}.app as app; app._service()\n"
        "print(gc.get_stats()[0]['collections'] - before)"
    )
    assert int(*_printed(program)) <= 3


@pytest.mark.parametrize(
    ("function", "module"),
    [
        ("authorizer", "tollgate.ports.jobs"),
        ("authorizer", "tollgate.domain.catalogue"),
        ("gateway", "tollgate.domain.jobs.webhooks"),
        ("gateway", "tollgate.domain.jobs.batches"),
        ("jobs", "tollgate.domain.roads.routing"),
    ],
)
def test_hot_functions_import_no_business_of_others(function: str, module: str) -> None:
    """What belongs to the later roads, or to no request that this function sees."""
    assert module not in _imported(function)


@pytest.mark.parametrize(("function", "most"), [("gateway", 190), ("authorizer", 90), ("jobs", 135)])
def test_the_number_of_modules_stays_small(function: str, most: int) -> None:
    """About what it was when the limit was set; raise it for a reason only (last: packages in adapters)."""
    assert len(_imported(function)) <= most
