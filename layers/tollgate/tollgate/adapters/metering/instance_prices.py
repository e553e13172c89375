"""What an hour of each compared instance type costs in a region: the snapshot, and what was read since."""

from collections.abc import Mapping
from decimal import Decimal

from tollgate.adapters.dynamodb.registry.prices import RegistryPrices
from tollgate.adapters.metering.price_snapshot import snapshot_book
from tollgate.domain.places.instance_shapes import SHAPES


def instance_prices(store: RegistryPrices, region: str) -> Mapping[str, Decimal]:
    """Dollars an hour by type; types without a known price are missing.

    Raises:
        StorageError: the registry cannot be read.
    """
    accepted = {name: record.price for name, record in store.records(region).items()}
    book = snapshot_book().updated(region, accepted)
    return {name: price.usd for name in SHAPES if (price := book.instance_hour(region, name)) is not None}
