"""The books of a house of fakes: what was worked, paid, held and spent."""

import json
from decimal import Decimal

from tests.fakes.async_endpoint import RUN_SECONDS, AsyncEndpoint
from tests.fakes.gateway import FakeGateway
from tests.fakes.swept_house import SweptHouse
from tests.fakes.token_house import dollars
from tollgate.adapters.dynamodb.jobs.settled import job_record, part_record
from tollgate.adapters.metering.request_log import records_of_line
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.money import ZERO

_ONE_CALL = Decimal("0.00005")
"""Dollars; more than a real-time call of these tests costs."""


class MoneyBooks(SweptHouse):
    """What is left when all is quiet.

    Attributes:
        gateway: takes the requests.
        endpoint: works on asynchronous ones.
        provider: that is paid by the token.
        died_answering: gateway functions that died; what they held and had not recorded is known to nobody.
    """

    gateway: FakeGateway
    endpoint: AsyncEndpoint
    provider: str
    died_answering: int

    @property
    def charged(self) -> Decimal:
        """Dollars in usage: of the log's lines, jobs, late charges, files and parts of batches."""
        return self.charged_to_owners + self.charged_to_nobody

    @property
    def charged_to_owners(self) -> Decimal:
        """The same without dropped files, which belong to no key."""
        now, lines = self.clock.now(), [json.dumps(line, separators=(",", ":")) for line in self.gateway.lines]
        at_once = [record for line in lines for record in records_of_line(line, now)]
        ended = [job_record(job) for job in (*self.jobs.jobs.values(), *self.jobs.late.values())]
        parts = [part_record(part) for part in self.file_batches.counted.values()]
        return sum((record.charged for record in (*at_once, *ended, *parts)), ZERO)

    @property
    def charged_to_nobody(self) -> Decimal:
        """Dollars in usage for dropped files."""
        counts = [run.count for run in self.batches.runs.values() if run.count is not None]
        return sum((count.bill.charged for count in counts), ZERO)

    @property
    def worked_seconds(self) -> tuple[Decimal, Decimal]:
        """Instance seconds of asynchronous invocations and of transform jobs."""
        ended = [status for status in self.backend.statuses.values() if status.started_at and status.ended_at]
        transformed = sum(((s.ended_at - s.started_at).total_seconds() for s in ended), 0.0)  # type: ignore[operator]  # both are there
        return Decimal(RUN_SECONDS * len(self.endpoint.runs)), Decimal(transformed)

    @property
    def paid_seconds(self) -> tuple[Decimal, Decimal]:
        """The same, as they are on the records of jobs, files and parts of batches."""
        every = (*self.jobs.jobs.values(), *self.jobs.late.values())
        jobs = [job for job in every if job.model == "echo"]
        paid = dict.fromkeys(InferenceType, ZERO)
        for job in jobs:
            paid[job.inference_type] += job.held_seconds or ZERO
        counts = [run.count for run in self.batches.runs.values() if run.count is not None]
        counts += [part.count for part in self.file_batches.counted.values()]
        batch = paid[InferenceType.BATCH] + sum((count.held_seconds or ZERO for count in counts), ZERO)
        return paid[InferenceType.ASYNC], batch

    @property
    def provider_bill(self) -> Decimal:
        """Dollars that the provider asks for the calls it was sent."""
        return len([target for target, _ in self.gateway.realtime.calls if target == self.provider]) * dollars(20, 30)

    def faults_in_the_books(self) -> list[str]:
        """What is wrong with the money, when all is quiet; empty if nothing is."""
        found, spent = [], dict[str, Decimal]()
        for name, counter in self.ledger.counters.items():
            scope = name.rpartition("#")[0]
            spent[scope] = spent.get(scope, ZERO) + counter.spent + counter.overrun
            holds = {slot: amount for slot, amount in counter.slots.items() if slot[0] == "h" and amount}
            own = [slot for slot in holds if "_" in slot]
            if counter.committed != counter.spent + sum(holds.values(), ZERO):
                found.append(f"{name}: {counter.committed} committed, {counter.spent} spent, {holds} held")
            if len(holds) > len(own) or len(own) > self.died_answering:
                found.append(f"{name}: {holds} still held")
        for scope, dollars_spent in spent.items():
            charged = self.charged if scope.startswith("gateway#") else self.charged_to_owners
            if dollars_spent != charged and not (self.died_answering and charged < dollars_spent < charged + _ONE_CALL):
                found.append(f"{scope}: {dollars_spent} spent, {charged} in usage")
        return found
