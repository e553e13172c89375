"""What is stored outlives the code that wrote it: an upgrade finds catalogues, jobs, counters and cached answers.

`stored/forms/` holds items as earlier code wrote them. Where a test says that a stored form has changed, and that is
meant, readers must take both: keep the old file beside the new one (`jobs.without-rates.json`) with a test of what is
read of it, and put what the test printed in its place.
"""

import base64
import json
import re
import zlib
from collections.abc import Mapping
from copy import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.contract.moto_stores import JOBS_TABLE, REGISTRY_TABLE, LocalAws
from tests.contract.stored import KINDS
from tests.contract.stored.work import full_job
from tests.fakes.clock import ManualClock
from tests.fakes.messages import BUCKET
from tests.unit.product_code import ROOT
from tollgate.adapters.dynamodb.jobs.jobs import DynamoDBJobStore
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogue
from tollgate.domain.catalogue import InferenceType, ModelKind
from tollgate.domain.errors import CatalogueError
from tollgate.domain.roads.health import DEFAULT_HEALTH

_FORMS = Path(__file__).parent / "stored" / "forms"
_WRITES = re.compile(r"\.(put_item|put_next|update_item)\(|Transact(Put|Update)\(")
_ZLIB = b"\x78"


def _kept(aws: LocalAws) -> dict[str, Any]:
    """Everything that the tables and the bucket hold, as JSON."""
    tables, bucket = aws.boto3_client("dynamodb"), aws.boto3_client("s3")
    found: dict[str, Any] = {}
    for table in sorted(tables.list_tables()["TableNames"]):
        items = tables.scan(TableName=table)["Items"]
        if items:
            text = [
                json.dumps(item, sort_keys=True, default=lambda raw: base64.b64encode(raw).decode()) for item in items
            ]
            found[table] = [json.loads(each) for each in sorted(text)]
    for entry in bucket.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        body = bucket.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
        found.setdefault("objects", {})[entry["Key"]] = body.decode()
    return found


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _put_back(aws: LocalAws, kept: Mapping[str, Any]) -> None:
    tables, bucket = aws.boto3_client("dynamodb"), aws.boto3_client("s3")
    for table, items in kept.items():
        if table == "objects":
            for key, body in items.items():
                bucket.put_object(Bucket=BUCKET, Key=key, Body=body.encode())
            continue
        for item in items:
            raw = {name: {"B": base64.b64decode(value["B"])} if "B" in value else value for name, value in item.items()}
            tables.put_item(TableName=table, Item=raw)


def _plain(kept: Any) -> Any:
    """Without what may differ between libraries: how zlib packs, and the order of a set."""
    if isinstance(kept, list):
        return [_plain(each) for each in kept]
    if not isinstance(kept, dict):
        return kept
    if set(kept) == {"B"}:
        raw = base64.b64decode(kept["B"])
        return {"B": zlib.decompress(raw).decode() if raw[:1] == _ZLIB else kept["B"]}
    return {name: sorted(each) if name in {"SS", "NS"} else _plain(each) for name, each in kept.items()}


def _form(name: str) -> dict[str, Any]:
    form: dict[str, Any] = json.loads((_FORMS / f"{name}.json").read_text("utf-8"))
    return form


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_has_not_changed(aws: LocalAws, kind: str) -> None:
    """To the attribute: functions of an earlier release run beside this one while it is deployed."""
    KINDS[kind].write(aws)
    written = _kept(aws)
    assert written
    path = _FORMS / f"{kind}.json"
    assert path.is_file(), f"a new kind: {path.name} has to say\n{json.dumps(written, indent=1, ensure_ascii=False)}"
    assert _plain(written) == _plain(_form(kind)), json.dumps(written, indent=1, ensure_ascii=False)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_read(aws: LocalAws, kind: str) -> None:
    """As if it had been written now."""
    KINDS[kind].write(aws)
    expected = KINDS[kind].read(aws)
    _empty(aws)
    _put_back(aws, _form(kind))
    assert KINDS[kind].read(aws) == expected


def test_jobs_from_before_rates_had_versions_are_read(aws: LocalAws) -> None:
    """They are charged by the catalogue in force, and keep everything else."""
    _put_back(aws, _form("jobs.without-rates"))
    store = DynamoDBJobStore(aws.dynamodb, JOBS_TABLE)
    assert store.get(full_job().job_id) == replace(full_job(), rates_version=0)


def test_places_from_before_earlier_requests_were_remembered_are_read(aws: LocalAws) -> None:
    """One of two places is taken: the next request gets the other one, and the third waits for the first."""
    _put_back(aws, _form("holding.without-earlier"))
    assert KINDS["holding"].read(aws) == [Decimal(3), Decimal(8), Decimal(4)]


@pytest.mark.parametrize("form", ["catalogue.with-batch-rates", "outcomes.with-quality-squared"])
def test_what_is_no_longer_written_is_passed_over(aws: LocalAws, form: str) -> None:
    """Attributes that nobody reads any more."""
    kind = KINDS[form.partition(".")[0]]
    kind.write(aws)
    expected = kind.read(aws)
    _empty(aws)
    _put_back(aws, _form(form))
    assert kind.read(aws) == expected


def test_the_first_catalogue_is_read(aws: LocalAws) -> None:
    """From before budgets, kinds, health and everything else: it serves as it did then, and can be rolled back to."""
    _put_back(aws, _form("catalogue.first"))
    catalogue = RegistryCatalogue(aws.dynamodb, REGISTRY_TABLE, ManualClock().monotonic).current()
    model = catalogue.models["smollm2"]
    assert (catalogue.budgets, catalogue.brakes, catalogue.input_budgets) == ((), None, ())
    assert (model.kind, model.cache, model.choice, model.trimming) == (ModelKind.ANY, None, None, None)
    assert model.health == DEFAULT_HEALTH
    (deployment,) = model.deployments
    assert (deployment.supports, deployment.sleep, deployment.micro_batch) == (frozenset(), None, None)
    assert deployment.roads[InferenceType.REALTIME].usd_per_hour == Decimal("1.4084")


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ('"idle_minutes"', '"only_newer_releases_know_this": 1, "idle_minutes"'),
        ('"async": {"ceiling_usd"', '"by_courier": {"ceiling_usd"'),
    ],
    ids=["a new key", "a new road"],
)
def test_a_catalogue_of_a_newer_release_is_named(aws: LocalAws, written: str, instead: str) -> None:
    """Whoever rolls the code back is told which version it is and what to do, and callers get 503."""
    form = json.dumps(_form("catalogue")).replace('\\"', "'").replace("':", "': ").replace(",'", ", '")
    written, instead = (text.replace('"', "'") for text in (written, instead))
    assert written in form
    _put_back(aws, json.loads(form.replace(written, instead).replace("'", '\\"')))
    with pytest.raises(CatalogueError, match="version 3 was stored by another release"):
        RegistryCatalogue(aws.dynamodb, REGISTRY_TABLE, ManualClock().monotonic).current()


def _empty(aws: LocalAws) -> None:
    tables = aws.boto3_client("dynamodb")
    for table in tables.list_tables()["TableNames"]:
        names = [key["AttributeName"] for key in tables.describe_table(TableName=table)["Table"]["KeySchema"]]
        for item in tables.scan(TableName=table)["Items"]:
            tables.delete_item(TableName=table, Key={name: item[name] for name in names})


def test_every_store_has_its_example() -> None:
    """A module that writes items is used by the examples above."""
    examples = "".join(path.read_text("utf-8") for path in _FORMS.parent.glob("*.py"))
    layer = ROOT / "layers" / "tollgate"
    folder = layer / "tollgate" / "adapters" / "dynamodb"
    writers = {path for path in folder.rglob("*.py") if _WRITES.search(path.read_text("utf-8"))}
    writers -= {folder / "client.py", folder / "transaction.py"}
    names = {str(path.relative_to(layer).with_suffix("")).replace("/", ".") for path in writers}
    assert {name for name in names if f"from {name} import" not in examples} == set()
