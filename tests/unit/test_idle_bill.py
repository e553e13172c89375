"""What `docs/deploy.md` says of a stack without traffic follows from the template."""

import re
from decimal import Decimal

from tests.unit.template_document import ROOT, events_of, functions, resources

_MINUTES = 43_800
"""Of AWS's month of 730 hours."""

_CONNECTIONS, _RECEIVES_A_MINUTE = 5, 3
"""https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html, long polls of 20 seconds."""

_USD_PER_MILLION, _FREE_MILLION = Decimal("0.40"), 1


def _table() -> list[list[str]]:
    text = (ROOT / "docs" / "deploy.md").read_text()
    part = text.partition("## What it costs when idle")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip(" *") for cell in row] for row in rows[2:]]


def _usd(cell: str) -> Decimal:
    found = re.fullmatch(r"\$(\d+\.\d\d)", cell)
    assert found, cell
    return Decimal(found[1])


def test_the_idle_bill_is_under_a_dollar_and_adds_up() -> None:
    """The goal, with the allowances that AWS gives every account; and both columns are the sum of their lines."""
    *lines, total = _table()
    for column in (1, 2):
        assert sum(_usd(line[column]) for line in lines) == _usd(total[column])
    assert _usd(total[2]) < 1


def test_polling_costs_what_the_table_says() -> None:
    """Every queue that feeds a function is in it."""
    queues = sum(event["Type"] == "SQS" for name in functions() for event in events_of(name).values())
    million = Decimal(queues * _CONNECTIONS * _RECEIVES_A_MINUTE * _MINUTES) / 1_000_000
    [row] = [line for line in _table() if line[0].startswith("SQS")]
    assert row[0].startswith(f"SQS: {queues} queues x {_CONNECTIONS} connections x {_RECEIVES_A_MINUTE} empty receives")
    assert f"{million:.2f} million requests" in row[0]
    assert _usd(row[1]) == round(million * _USD_PER_MILLION, 2)
    assert _usd(row[2]) == round((million - _FREE_MILLION) * _USD_PER_MILLION, 2)


def test_what_runs_every_minute_is_counted() -> None:
    """The number of schedules, alarms, tables and dashboards in the sentence above the table."""
    every_minute = sum(
        event["Type"] == "Schedule" and event["Properties"]["Schedule"] == "rate(1 minute)"
        for name in functions()
        for event in events_of(name).values()
    )
    alarms = [a for a in resources("AWS::CloudWatch::Alarm").values() if "Condition" not in a]
    text = " ".join((ROOT / "docs" / "deploy.md").read_text().split())
    assert f"{every_minute} functions a minute ({every_minute * _MINUTES:,} calls)" in text
    assert (
        f"{len(alarms)} alarms, {len(resources('AWS::CloudWatch::Dashboard'))} dashboard, "
        f"{len(resources('AWS::DynamoDB::Table'))} tables" in text
    )
