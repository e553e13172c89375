"""Prices from the list to the registry to the catalogue: real clients, a list of our own, moto's tables."""

import json
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from cli.stack import Stack
from functions.cost_reconcile.app import build, handle
from tests.contract.moto_stores import REGISTRY_TABLE, LocalAws, reconcile_settings
from tests.contract.price_list_server import PriceListServer, serving
from tests.fakes.prices import InMemoryPrices, hosting, product
from tests.unit.template_document import ROOT
from tollgate.adapters.dynamodb.registry.prices import RegistryPrices
from tollgate.adapters.metering.price_list_api import hosting_prices, part_price
from tollgate.adapters.metering.price_snapshot import snapshot_book
from tollgate.domain.costs.price_book import ListPrice
from tollgate.domain.costs.price_refresh import PendingPrice, PriceRecord
from tollgate.domain.errors import ConflictError, StorageError
from tollgate.ports.money import PriceStore

REGION = "us-east-1"
DEAR = "ml.g5.12xlarge"  # 7.09 dollars in the snapshot
CHEAP = "ml.g5.2xlarge"  # 1.515
S3_PUT = {"group": "S3-API-Tier1", "usagetype": "Requests-Tier1"}
PRODUCTS = [
    hosting("A1", "ml.g4dn.xlarge", "0.7364000000"),
    hosting("A2", "ml.c5.xlarge", "0.2040000000"),
    hosting("A3", CHEAP, "1.6000000000"),
    hosting("A4", DEAR, "9.0000000000"),
    hosting("A5", "ml.new1.large", "0.5000000000"),
    hosting("B1", "ml.g4dn.xlarge", "0.1", component="Training"),
    hosting("B2", "ml.g4dn.xlarge", "0.2", component="Studio-Notebook"),
    product("S1", S3_PUT, ("0", "0.0000050000"), unit="Requests", service="AmazonS3"),
    product(
        "Q1",
        {"queueType": "Standard"},
        ("0", "0.0000000000"),
        ("1000000", "0.0000004000"),
        ("100000000000", "0.0000003000"),
        unit="Requests",
        service="AWSQueueService",
    ),
]


@pytest.fixture
def stack(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack for the command line, found without CloudFormation."""
    found = Stack("tollgate", REGION, {"RegistryTableName": REGISTRY_TABLE}, "arm64")
    found.__dict__["tables"] = aws.dynamodb
    monkeypatch.setattr(Stack, "find", lambda _name: found)
    monkeypatch.setenv("AWS_REGION", REGION)
    return found


@pytest.fixture
def price_list(monkeypatch: pytest.MonkeyPatch) -> Iterator[PriceListServer]:
    """The list, where boto3 looks for it."""
    content = PriceListServer(PRODUCTS)
    with serving(content) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_PRICING", url)
        yield content


@pytest.fixture(params=["memory", "dynamodb"])
def store(request: pytest.FixtureRequest, aws: LocalAws) -> PriceStore:
    """The fake and the real store, under the same tests."""
    return InMemoryPrices() if request.param == "memory" else RegistryPrices(aws.dynamodb, REGISTRY_TABLE)


@pytest.mark.parametrize(
    "record",
    [
        PriceRecord(ListPrice(Decimal("0.7364000000"), "2026-11-22", "SKU A")),
        PriceRecord(ListPrice(Decimal(1), "2026-11", ""), PendingPrice(Decimal("2.50"), "2026-11-22", "SKU A")),
        PriceRecord(ListPrice(Decimal(1), "2026-11", ""), PendingPrice(None, "2026-11-22", "gone")),
        PriceRecord(None),
    ],
)
def test_a_record_comes_back_as_it_was_stored(store: PriceStore, record: PriceRecord) -> None:
    """To the last digit, in its region only, with the next revision."""
    store.store(REGION, CHEAP, record)
    assert store.records(REGION) == {CHEAP: PriceRecord(record.price, record.pending, 1)}
    assert store.records("eu-west-1") == {}


def test_two_writers_do_not_overwrite_each_other(store: PriceStore) -> None:
    """The one who read earlier is told."""
    price = PriceRecord(ListPrice(Decimal(1), "2026-11-22", ""))
    store.store(REGION, CHEAP, price)
    with pytest.raises(ConflictError):
        store.store(REGION, CHEAP, price)
    store.store(REGION, CHEAP, store.records(REGION)[CHEAP])
    with pytest.raises(ConflictError):
        store.store(REGION, CHEAP, PriceRecord(price.price, revision=1))


def _run_function() -> None:
    service = build(reconcile_settings())
    handle(json.loads((ROOT / "events/cost_reconcile/prices.json").read_text()), service)


@pytest.mark.usefixtures("stack", "price_list")
def test_the_function_writes_hosting_prices_and_holds_a_jump_back(
    aws: LocalAws, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over several pages, without Training and Studio; with a line per change and the metric of the alarm."""
    _run_function()
    records = RegistryPrices(aws.dynamodb, REGISTRY_TABLE).records(REGION)
    in_force = {name: record.price.usd for name, record in records.items() if record.price is not None}
    assert in_force == {
        "ml.g4dn.xlarge": Decimal("0.7364"),
        "ml.c5.xlarge": Decimal("0.204"),
        CHEAP: Decimal("1.6"),
        DEAR: Decimal("7.09"),
        "ml.new1.large": Decimal("0.5"),
        "bucket_put": Decimal("0.000005"),
        "queue_request": Decimal("0.0000004"),
    }
    pending = records[DEAR].pending
    assert pending is not None
    assert pending.usd == 9
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["name"]: line["verdict"] for line in lines if "verdict" in line} == {
        CHEAP: "changed",
        DEAR: "jumped",
        "ml.new1.large": "new",
    }
    assert [line["PriceJumpPercent"][0] for line in lines if "_aws" in line] == [pytest.approx(26.94, abs=0.01)]


@pytest.mark.usefixtures("stack")
def test_a_list_that_cannot_be_read_changes_nothing(aws: LocalAws, price_list: PriceListServer) -> None:
    """The function fails, so that Lambda tries again and then keeps the event as a dead letter."""
    price_list.refuse = True
    with pytest.raises(StorageError, match="AccessDeniedException"):
        _run_function()
    assert RegistryPrices(aws.dynamodb, REGISTRY_TABLE).records(REGION) == {}


@pytest.mark.usefixtures("stack", "price_list")
def test_a_jump_is_accepted_and_then_charged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """refresh, show, accept, apply: the catalogue's price, with its date and source, follows the registry."""
    catalogue = tmp_path / "models.toml"
    catalogue.write_text((ROOT / "models.toml").read_text().replace("ml.m5.large", DEAR).replace("ml.g5.xlarge", DEAR))
    assert main(["prices", "refresh"]) == 1
    assert f"{DEAR}: 7.09 -> 9.0000000000 (jumped, 26.9 %)" in capsys.readouterr().out
    assert main(["prices", "show"]) == 1
    assert "1 pending" in capsys.readouterr().out
    assert main(["models", "apply", str(catalogue)]) == 0
    assert f"{DEAR}: 7.09 USD/hour, 2026-08, AWS Price List API" in capsys.readouterr().out
    assert main(["prices", "accept", CHEAP]) == 2
    assert main(["prices", "accept", DEAR]) == 0
    assert main(["prices", "accept", "--all"]) == 0
    assert "Nothing is pending" in capsys.readouterr().out
    assert main(["prices", "show"]) == 0
    capsys.readouterr()
    assert main(["models", "diff", str(catalogue)]) == 1
    assert "usd_per_hour: 7.09 -> 9.0000000000" in capsys.readouterr().out
    assert main(["models", "apply", str(catalogue)]) == 0
    assert "SKU A4" in capsys.readouterr().out


@pytest.mark.usefixtures("stack")
def test_a_model_that_comes_or_goes_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not one for each of its values."""
    catalogue = tmp_path / "models.toml"
    whole = (ROOT / "models.toml").read_text()
    catalogue.write_text(whole)
    assert main(["models", "diff", str(catalogue)]) == 1
    assert "models.echo: new" in capsys.readouterr().out.splitlines()
    assert main(["models", "apply", str(catalogue)]) == 0
    catalogue.write_text(whole.partition("[models.echo]")[0])
    capsys.readouterr()
    assert main(["models", "diff", str(catalogue)]) == 1
    assert capsys.readouterr().out == "models.echo: removed\n"


def test_a_stack_of_an_earlier_release_gets_its_seal(
    aws: LocalAws, stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """When its catalogue is applied again, though nothing else changes; and keeps it from then on."""
    assert stack.registry == REGISTRY_TABLE
    catalogue = tmp_path / "models.toml"
    catalogue.write_text((ROOT / "models.toml").read_text())
    assert main(["models", "apply", str(catalogue)]) == 0
    pointer = {"pk": "catalogue", "sk": "current"}
    aws.dynamodb.put_item(REGISTRY_TABLE, {**pointer, "version": 1, "previous": 0})
    seals = set()
    for _ in range(2):
        assert main(["models", "apply", str(catalogue)]) == 0
        item = aws.dynamodb.get_item(REGISTRY_TABLE, pointer)
        assert item is not None
        assert item["version"] == 1
        seals.add(item["seal"])
    (seal,) = seals
    assert len(seal) == 32
    assert "nothing to apply" in capsys.readouterr().out


@pytest.mark.usefixtures("stack")
def test_budgets_are_compared_by_what_they_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that comes first in the file changes no other; nothing is told as `None`."""
    catalogue = tmp_path / "models.toml"
    whole = (ROOT / "models.toml").read_text()
    day = '[[budgets]]\nscope = "gateway"\nperiod = "day"\nlimit_usd = "5.00"\n'
    catalogue.write_text(whole + day)
    assert main(["models", "apply", str(catalogue)]) == 0
    capsys.readouterr()
    team = '[[budgets]]\nscope = "team:search"\nperiod = "month"\nlimit_usd = 1\nthresholds = []\n'
    raised = day.replace("5.00", "6.00") + "raise_usd = 2\nraise_until = 2027-01-01T00:00:00Z\n"
    catalogue.write_text(whole + team + raised)
    assert main(["models", "diff", str(catalogue)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[:3] == [
        "budgets.gateway day.limit_usd: 5.00 -> 6.00",
        "budgets.gateway day.raise_until: - -> 2027-01-01T00:00:00+00:00",
        "budgets.gateway day.raise_usd: 0 -> 2",
    ]
    assert "budgets.team:search month.limit_usd: - -> 1" in told
    assert not [line for line in told if "None" in line or "- -> -" in line]


@pytest.mark.usefixtures("stack")
def test_a_price_that_vanished_is_refused_once_that_was_accepted(
    tmp_path: Path, price_list: PriceListServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until then the last known price goes on."""
    catalogue = tmp_path / "models.toml"
    catalogue.write_text(
        (ROOT / "models.toml").read_text().replace("ml.m5.large", CHEAP).replace("ml.g5.xlarge", CHEAP)
    )
    assert main(["prices", "refresh"]) == 1
    price_list.products = [p for p in price_list.products if p["product"]["sku"] != "A3"]
    assert main(["prices", "refresh"]) == 1
    assert f"{CHEAP}: 1.6000000000 -> - (vanished" in capsys.readouterr().out
    assert main(["models", "apply", str(catalogue)]) == 0
    assert main(["prices", "accept", CHEAP]) == 0
    assert main(["models", "apply", str(catalogue)]) == 2
    assert f"No price is known for {CHEAP}" in capsys.readouterr().err


def test_accept_wants_names_or_all(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is accepted by forgetting to say what."""
    with pytest.raises(SystemExit):
        main(["prices", "accept"])
    assert "--all" in capsys.readouterr().err


def _products(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    return [hosting(f"X{place}", "ml.g5.xlarge", usd, **more) for place, (usd, more) in enumerate(map(_parts, changes))]


def _parts(change: dict[str, Any]) -> tuple[str, dict[str, str]]:
    return change["usd"], {name: value for name, value in change.items() if name != "usd"}


def test_of_several_products_the_dearest_counts() -> None:
    """And its source says that there were others."""
    found = hosting_prices(_products({"usd": "1.4"}, {"usd": "1.5"}, {"usd": "1.5"}), REGION)
    assert found["ml.g5.xlarge"].usd == Decimal("1.5")
    assert "dearest of 2 prices" in found["ml.g5.xlarge"].source


@pytest.mark.parametrize(
    "other",
    [
        {"usd": "9", "component": "Training"},
        {"usd": "9", "regionCode": "eu-west-1"},
        {"usd": "9", "usagetype": "USE1-TrainingPlan:ml.g5.xlarge"},
    ],
)
def test_products_of_the_same_instance_for_other_uses_are_kept_out(other: dict[str, Any]) -> None:
    """Even if the filters of the API let them through."""
    found = hosting_prices(_products({"usd": "1.4"}, other), REGION)
    assert found["ml.g5.xlarge"].usd == Decimal("1.4")


def test_a_price_that_is_not_per_hour_is_no_instance_price() -> None:
    """A figure per GB or request would be wrong by orders of magnitude."""
    attributes = {"instanceName": "ml.g5.xlarge", "component": "Hosting"}
    assert hosting_prices([product("X", attributes, ("0", "9"), unit="GB")], REGION) == {}


def test_the_usage_type_of_a_part_is_matched_without_its_region() -> None:
    """And not merely by its end."""
    rows = [
        product(sku, {"usagetype": usage}, ("0", usd), unit="Requests", service="AmazonApiGateway")
        for sku, usage, usd in (
            ("R", "USE1-ApiGatewayRequest", "0.0000035"),
            ("H", "USE1-ApiGatewayHttpRequest", "0.000001"),
            ("C", "USE1-CachedApiGatewayRequest", "9"),
        )
    ]
    found = part_price(rows, REGION, {}, "ApiGatewayRequest")
    assert found is not None
    assert found.usd == Decimal("0.0000035")


def test_the_sample_of_real_records_is_read() -> None:
    """S3's requests have the price of the snapshot, where the folder with real records is there."""
    folder = Path(os.environ.get("TOLLGATE_DATA", ROOT.parent / "shared/data"))
    sample = folder / "prices/price_list_shape_s3.json"
    if not sample.is_file():
        pytest.skip("there is no folder with measured data (TOLLGATE_DATA)")
    rows = [json.loads(text) for text in json.loads(sample.read_text())["PriceList"]]
    found = part_price(rows, REGION, {"group": "S3-API-Tier1"})
    assert found is not None
    assert found.usd == snapshot_book().parts[REGION, "bucket_put"].usd
