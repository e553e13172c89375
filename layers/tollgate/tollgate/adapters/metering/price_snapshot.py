"""The price book that came with this version."""

import json
from importlib.resources import files

from tollgate.domain.costs.price_book import PriceBook


def snapshot_book() -> PriceBook:
    """Prices of `tollgate/data/prices.json`."""
    return PriceBook.from_document(json.loads(files("tollgate.data").joinpath("prices.json").read_text("utf-8")))
