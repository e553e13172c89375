"""Roles allow the items of tables and the prefixes of the bucket that their function's code touches, and no others.

What a key begins with is not read from the code: the tables below say it for every method that has a key, and are
complete. Which of these methods a function can come to is read, as in `test_template_rights`.
"""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import pytest

from tests.unit.called_operations import Reach
from tests.unit.product_code import ROOT
from tests.unit.template_document import as_list, folder_of, functions, settings_class, statements, target
from tests.unit.test_template_rights import NEVER_ASKED

type Right = tuple[str, str]
"""An action, and what a key begins with: ``("s3:PutObject", "results/")``."""

LAYER = ROOT / "layers" / "tollgate"

GET, PUT, DELETE = ("s3:GetObject",), ("s3:PutObject",), ("s3:DeleteObject",)
IN_PARTS = (*PUT, "s3:AbortMultipartUpload")
METHODS = {
    **dict.fromkeys(("get", "lines", "chunks", "stored_at", "size_of", "presigned_get"), GET),
    **dict.fromkeys(("put", "presigned_put"), PUT),
    **dict.fromkeys(("put_lines", "put_chunks"), IN_PARTS),
    "delete": DELETE,
}
"""What IAM asks for, by method of an object store that is given a key. `copy` reads one and writes another."""

OBJECTS = {
    "adapters.texts.bucket_tokenizers.BucketTokenizers.counter": {"get": ["tokenizers/"]},
    "adapters.dynamodb.cache.answers.DynamoDBAnswers.store": {"put": ["cache/"]},
    "adapters.dynamodb.cache.answers.DynamoDBAnswers._answer": {"get": ["cache/"]},
    "adapters.dynamodb.cache.idempotency.DynamoDBIdempotency._earlier": {"get": ["results/"]},
    "adapters.dynamodb.cache.idempotency.DynamoDBIdempotency.complete": {"put": ["results/"]},
    "adapters.metering.focus_file.FocusBucket.has": {"stored_at": ["exports/"]},
    "adapters.metering.focus_file.FocusBucket.write": {"put": ["exports/"]},
    "adapters.sagemaker.asynchronous.SageMakerAsync.submit": {"put": ["async-input/"]},
    "services.batches.drop_batch.DroppedRuns.dropped": {"stored_at": ["batch-input/"], "lines": ["batch-input/"]},
    "services.batches.drop_batch.DroppedRuns._cut_and_start": {"lines": ["batch-input/"]},
    "services.batches.drop_chunks.store": {"put_lines": ["transform-input/"]},
    "services.batches.drop_chunks.stored_chunks": {"lines": ["transform-input/"]},
    "services.batches.drop_chunks.stored_bodies": {"lines": ["transform-input/"]},
    "services.batches.drop_results.DropResults.refuse": {"put": ["batch-output/"]},
    "services.batches.drop_results.DropResults.write": {"put_lines": ["batch-output/"], "put": ["batch-output/"]},
    "services.batches.file_batch_cut.BatchCutter.cut": {"lines": ["files/"]},
    "services.batches.file_batch_cut.BatchCutter.keep": {"stored_at": ["transform-input/"]},
    "services.batches.file_batch_files.ResultFiles._file": {"put_lines": ["files/"]},
    "services.batches.file_part_run.PartRunner._leave_out": {
        "put_lines": ["transform-input/"],
        "delete": ["transform-input/"],
    },
    "services.batches.files.Files.create": {"put": ["files/"]},
    "services.batches.files.Files.content": {"get": ["files/"], "presigned_get": ["files/"]},
    "services.batches.files.Files.delete": {"delete": ["files/"]},
    "services.batches.output.read_output": {"lines": ["transform-output/"]},
    "services.batches.pooled.PooledRuns.begin": {"put": ["transform-input/"]},
    "services.batches.pooled.PooledRuns.job_ids": {"get": ["transform-input/"]},
    "services.batches.pooled.PooledRuns.prepare": {"put_lines": ["transform-input/"]},
    "services.batches.uploads.Uploads.begin": {"presigned_put": ["uploads/"]},
    "services.batches.uploads.Uploads.add_part": {"put": ["uploads/"]},
    "services.batches.uploads.Uploads.complete": {"put_chunks": ["files/"], "delete": ["uploads/"]},
    "services.batches.uploads.Uploads.cancel": {"delete": ["uploads/"]},
    "services.batches.uploads.Uploads._copy": {"size_of": ["uploads/", "files/"], "copy": ["uploads/", "files/"]},
    "services.batches.uploads.Uploads._checked": {"chunks": ["uploads/"]},
    "services.cache.refresh_answers.RefreshOrders.order": {"put": ["cache/"]},
    "services.cache.refresh_answers.AnswerRefresher.carry_out": {"get": ["cache/"]},
    "services.jobs.complete_async.AsyncCompletion.found_in_bucket": {"stored_at": ["async-output/"]},
    "services.jobs.complete_async.AsyncCompletion._read": {"get": ["async-output/"]},
    "services.jobs.complete_job.JobCompleter._keep": {"put": ["results/"]},
    "services.jobs.complete_together.GroupCompletion.notice": {"get": ["async-input/"]},
    "services.jobs.complete_together.GroupCompletion._answers": {"get": ["async-output/"]},
    "services.jobs.job_requests.stored_input": {"get": ["async-input/"]},
    "services.jobs.kept_work.keep_work": {"put": ["results/"]},
    "services.jobs.kept_work.kept_work": {"get": ["results/"]},
    "services.jobs.queries.JobQueries.result_url": {"presigned_get": ["results/"]},
    "services.jobs.results.output_of": {"get": ["results/"]},
    "services.jobs.run_token_job.TokenJobRun._complete": {"put": ["results/"]},
    "services.jobs.hand_over_together.GroupHandOver.submit": {"put": ["async-input/"]},
    "services.requests.accept_job.JobAcceptance._keep_input": {"put": ["async-input/"]},
}
"""What the keys begin with that a method gives to an object store; of `copy` first that which it reads."""

NEVER_PUT = {("AsyncSubmitFunction", "s3:PutObject", "cache/"): "it ends jobs with kept answers, or as failed"}
"""Calls that the code of a function holds and that it never comes to, with the reason."""

ITEMS = {
    "DynamoDBBacklog.record_backlog": ["capacity"],
    "DynamoDBHoldingStore._write": ["holding"],
    "DynamoDBHoldingStore.take_place": ["holding"],
    "DynamoDBLedger._action PutItem": ["workflow#tenant"],
    "DynamoDBLedger._action UpdateItem": ["budget#tenant"],
    "DynamoDBLedger._alone": ["budget#tenant"],
    "DynamoDBLedger._as_refused": ["budget#tenant"],
    "DynamoDBLedger.call": ["workflow#tenant"],
    "DynamoDBLedger.calls_of": ["workflow#tenant"],
    "DynamoDBLedger.close_notice": ["notice"],
    "DynamoDBLedger.open_notice": ["notice"],
    "DynamoDBLedger.open_notices": ["notice"],
    "DynamoDBLedger.postpone_notice": ["notice"],
    "DynamoDBLedger.read": ["budget#tenant"],
    "DynamoDBLedger.tell_once": ["budget#tenant"],
    "DynamoDBUsage.close": ["usage#closed"],
    "DynamoDBUsage.closed_until": ["usage#closed"],
    "DynamoDBUsage.put": ["usage#slice#2026"],
    "DynamoDBUsage.each": ["usage#slice#2026"],
    "RegistryCapacity._partition": ["capacity", "capacity#2026"],
    "RegistryCatalogue._read": ["catalogue"],
    "RegistryCatalogue._stored": ["catalogue"],
    "RegistryControl.in_force": ["control"],
    "RegistryControlStore.put_item": ["control#episode"],
    "RegistryControlStore.query": ["control#episode"],
    "RegistryControlStore.read": ["control"],
    "RegistryControlStore.save": ["control"],
    "RegistryDurations._flush": ["capacity#2026"],
    "RegistryHealth.record_health": ["capacity"],
    "RegistryKeys.find": ["key#hash"],
    "RegistryOutcomes._read": ["outcomes#model"],
    "RegistryOutcomes._write": ["outcomes#model"],
    "RegistryOutcomes.judge PutItem": ["feedback#tenant"],
    "RegistryOutcomes.judge UpdateItem": ["outcomes#model"],
    "RegistryPlaces.all": ["endpoints"],
    "RegistryPlaces.ask": ["endpoints"],
    "RegistryPlaces.get": ["endpoints"],
    "RegistryPlaces.record_state": ["capacity"],
    "RegistryPlaces.write": ["endpoints"],
    "RegistryPrices.records": ["prices#region"],
    "RegistryPrices.store": ["prices#region"],
    "RegistryRecommendations.latest": ["recommendations"],
    "RegistryRecommendations.store": ["recommendations"],
    "RegistryWebhookSecrets.of": ["webhook#tenant"],
}
"""Partitions, an example of each kind, that a method of an adapter touches in the ledger or the registry.

The action stands behind the method where it matters.
"""


def _holder(node: ast.AST) -> str:
    """What a call is made on, without `self` and underscore: ``objects`` for ``self._objects.get``."""
    if isinstance(node, ast.Call) and not node.args:
        node = node.func
    return ast.unparse(node).rpartition(".")[2].lstrip("_")


def _calls_with_keys() -> Iterator[tuple[str, str]]:
    """Every call of a method of an object store in services and adapters, with where it stands."""

    def look(node: ast.AST, place: str) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            match child:
                case ast.Call(func=ast.Attribute(value=holder, attr=name)) if _holder(holder) in {"objects", "chunked"}:
                    if name in METHODS or name == "copy":
                        yield place, name
            inner = f"{place}.{child.name}" if isinstance(child, ast.FunctionDef | ast.ClassDef) else place
            yield from look(child, inner)

    for file in sorted((LAYER / "tollgate").rglob("*.py")):
        module = ".".join(file.relative_to(LAYER / "tollgate").with_suffix("").parts)
        yield from look(ast.parse(file.read_text()), module)


def test_every_call_with_a_key_is_listed() -> None:
    """A method that is not in the table would be checked against nothing."""
    found: dict[str, set[str]] = {}
    for place, name in _calls_with_keys():
        found.setdefault(place, set()).add(name)
    assert found == {place: set(calls) for place, calls in OBJECTS.items()}


def _asked(calls: dict[str, list[str]]) -> Iterator[Right]:
    """What IAM asks for at the calls of one method."""
    for name, prefixes in calls.items():
        if name == "copy":
            source, key = prefixes
            yield from ((*GET, source), (*PUT, key))
        else:
            yield from ((action, prefix) for action in METHODS[name] for prefix in prefixes)


@cache
def _needed_objects(logical_id: str) -> frozenset[Right]:
    folder = folder_of(logical_id)
    told = settings_class(folder).fields()
    if "bucket" not in told:
        return frozenset()
    reached = Reach.of(folder).places
    asked = {right for place, calls in OBJECTS.items() if f"tollgate.{place}" in reached for right in _asked(calls)}
    # Other functions wire the same parts with the table of answers, whose bodies these are.
    return frozenset(
        right
        for right in asked
        if (right[1] != "cache/" or "table_cache" in told) and (logical_id, *right) not in NEVER_PUT
    )


def _role(logical_id: str) -> str:
    return target(functions()[logical_id]["Properties"]["Role"])


def _allowed_objects(logical_id: str) -> set[Right]:
    return {
        (action, found[1])
        for name, statement in statements()
        if name == _role(logical_id)
        for action in as_list(statement["Action"])
        for resource in as_list(statement.get("Resource", []))
        if (found := re.fullmatch(r"\$\{Bucket\.Arn\}/(.+/)\*", resource.get("Fn::Sub", "") if resource != "*" else ""))
    }


def test_what_is_never_put_is_in_the_code() -> None:
    """An exception that nothing stands behind any more has to go."""
    for logical_id, action, prefix in NEVER_PUT:
        reached = Reach.of(folder_of(logical_id)).places
        asked = {right for place in OBJECTS if f"tollgate.{place}" in reached for right in _asked(OBJECTS[place])}
        assert (action, prefix) in asked


@pytest.mark.parametrize("logical_id", functions())
def test_a_role_opens_the_prefixes_that_its_function_uses(logical_id: str) -> None:
    """A prefix that is missing would be an answer lost on AWS; one too many is open to whoever breaks in."""
    assert _allowed_objects(logical_id) == _needed_objects(logical_id)


def _matches(statement: dict[str, Any], key: str) -> bool:
    """Whether a statement is about a partition; one without condition is about all."""
    condition = statement.get("Condition")
    if condition is None:
        return True
    ((operator, keys),) = condition.items()
    assert operator in {"ForAllValues:StringLike", "ForAllValues:StringEquals", "ForAnyValue:StringLike"}
    return any(fnmatchcase(key, pattern) for pattern in as_list(keys["dynamodb:LeadingKeys"]))


def _may(logical_id: str, action: str, table: str, key: str) -> bool:
    about = [
        statement
        for name, statement in statements()
        if name == _role(logical_id)
        and f"dynamodb:{action}" in as_list(statement["Action"])
        and {"Fn::GetAtt": f"{table}Table.Arn"} in as_list(statement["Resource"])
        and _matches(statement, key)
    ]
    effects = {statement["Effect"] for statement in about}
    return effects == {"Allow"}


def _entry(action: str, method: str) -> str:
    """The name of a call's entry in `ITEMS`."""
    exact = f"{method} {action}"
    return exact if exact in ITEMS else method


@cache
def _items(logical_id: str) -> frozenset[tuple[str, str, str]]:
    """Action, table and partition of every call that a function can make to the ledger or the registry."""
    folder = folder_of(logical_id)
    told = settings_class(folder).fields()
    return frozenset(
        (action, table, key)
        for action, table, method in Reach.of(folder).table_places()
        if table in {"Ledger", "Registry"} and f"table_{table.lower()}" in told
        if (logical_id, f"dynamodb:{action}", table) not in NEVER_ASKED
        for key in ITEMS[_entry(action, method)]
    )


@pytest.mark.parametrize("logical_id", functions())
def test_conditions_let_through_what_a_function_touches(logical_id: str) -> None:
    """The emulator knows no conditions: a partition that one leaves out would be refused on AWS only."""
    refused = {call for call in _items(logical_id) if not _may(logical_id, *call)}
    assert refused == set()


@pytest.mark.parametrize("logical_id", functions())
def test_conditions_name_no_partition_that_is_never_touched(logical_id: str) -> None:
    """A pattern without a call behind it opens something for nobody."""
    touched = _items(logical_id)
    for name, statement in statements():
        if name == _role(logical_id) and statement["Effect"] == "Allow" and "LeadingKeys" in str(statement):
            (table,) = (target(resource).removesuffix("Table") for resource in as_list(statement["Resource"]))
            for action in as_list(statement["Action"]):
                ((_, keys),) = statement["Condition"].items()
                for pattern in keys["dynamodb:LeadingKeys"]:
                    assert any(
                        (f"dynamodb:{called}", of) == (action, table) and fnmatchcase(key, pattern)
                        for called, of, key in touched
                    ), (action, pattern)


def test_the_listed_partitions_are_in_the_code() -> None:
    """An entry that no function comes to any more has to go."""
    reached = {
        _entry(action, method)
        for logical_id in functions()
        for action, table, method in Reach.of(folder_of(logical_id)).table_places()
        if table in {"Ledger", "Registry"}
    }
    assert reached == set(ITEMS)
