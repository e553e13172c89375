"""Reads the price list, applies small changes, and holds the others for a person to accept."""

from collections.abc import Sequence

from tollgate.domain.costs.price_book import PriceBook, is_instance
from tollgate.domain.costs.price_refresh import (
    PENDING_VERDICTS,
    PriceFinding,
    PriceVerdict,
    accept,
    largest_jump,
    review,
)
from tollgate.domain.errors import ConflictError, StorageError
from tollgate.domain.money import money_text
from tollgate.ports.money import PriceList, PriceStore
from tollgate.ports.system import Clock, Telemetry


class PriceRefresh:
    """Keeps the registry's prices current.

    Args:
        prices: the list that AWS publishes.
        store: the registry.
        snapshot: prices that came with this version.
        telemetry: takes one line per change, and the metric of the largest jump.
        clock: says which day it is.
    """

    def __init__(
        self, *, prices: PriceList, store: PriceStore, snapshot: PriceBook, telemetry: Telemetry, clock: Clock
    ) -> None:
        self._prices = prices
        self._store = store
        self._snapshot = snapshot
        self._telemetry = telemetry
        self._clock = clock

    def refresh(self, region: str) -> Sequence[PriceFinding]:
        """Compare the list of a region with the prices in force and store the outcome; safe to repeat.

        Raises:
            StorageError: the list or the registry cannot be read, or the list has no instance at all, which is a broken
                reading and not the end of every price.
        """
        found = self._prices.prices(region)
        if not any(is_instance(name) for name in found):
            raise StorageError(f"The price list has no instances for {region}; nothing was changed.")
        findings = review(
            self._store.records(region),
            self._snapshot.of_region(region),
            found,
            date=self._clock.now().date().isoformat(),
        )
        for finding in findings:
            self._keep(region, finding)
        self._telemetry.count("PriceJumpPercent", float(largest_jump(findings)), unit="Percent")
        return findings

    def _keep(self, region: str, finding: PriceFinding) -> None:
        if finding.verdict is not PriceVerdict.SAME:
            careful = finding.verdict in PENDING_VERDICTS or finding.verdict is PriceVerdict.REFUSED
            self._telemetry.log(
                "WARNING" if careful else "INFO",
                "price",
                region=region,
                name=finding.name,
                verdict=finding.verdict.value,
                before_usd=money_text(finding.before),
                after_usd=None if finding.after is None else str(finding.after),
                jump_percent=round(float(finding.jump_percent), 3),
            )
        if finding.record is None:
            return
        try:
            self._store.store(region, finding.name, finding.record)
        except ConflictError:
            # It was accepted meanwhile; the next reading starts from there.
            self._telemetry.log("WARNING", "price changed meanwhile", region=region, name=finding.name)

    def accept(self, region: str, names: Sequence[str]) -> Sequence[str]:
        """Put pending prices in force.

        Args:
            region: of the prices.
            names: which; empty for all that are pending.

        Returns:
            The names that were accepted, sorted.

        Raises:
            ConflictError: nothing is pending for one of them, or it changed at the same time.
        """
        records = self._store.records(region)
        pending = {name: record for name, record in records.items() if record.pending is not None}
        missing = sorted(set(names) - set(pending))
        if missing:
            raise ConflictError(f"Nothing is pending in {region} for: {', '.join(missing)}.")
        chosen = sorted(names or pending)
        for name in chosen:
            self._store.store(region, name, accept(name, pending[name]))
        return chosen
