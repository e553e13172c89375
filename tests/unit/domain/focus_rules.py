"""The column rules of FOCUS 1.0, and what a file breaks of them.

The rules are read from the specification's column pages, https://focus.finops.org/focus-specification/v1-0/, not from
the code under test: which columns must be there, which may be null, what values and formats are allowed.
"""

import json
import re
from decimal import Decimal

# Columns whose feature level is "Mandatory" in 1.0, and whether the page allows nulls.
MANDATORY = {
    "BilledCost": False,
    "BillingAccountId": False,
    "BillingAccountName": True,
    "BillingCurrency": False,
    "BillingPeriodEnd": False,
    "BillingPeriodStart": False,
    "ChargeCategory": False,
    "ChargeClass": True,
    "ChargeDescription": True,
    "ChargePeriodEnd": False,
    "ChargePeriodStart": False,
    "ContractedCost": False,
    "EffectiveCost": False,
    "InvoiceIssuerName": False,
    "ListCost": False,
    "PricingQuantity": True,
    "PricingUnit": True,
    "ProviderName": False,
    "PublisherName": False,
    "ServiceCategory": False,
    "ServiceName": False,
}
OTHERS = set(
    "AvailabilityZone ChargeFrequency CommitmentDiscountCategory CommitmentDiscountId CommitmentDiscountName "
    "CommitmentDiscountStatus CommitmentDiscountType ConsumedQuantity ConsumedUnit ContractedUnitPrice ListUnitPrice "
    "PricingCategory RegionId RegionName ResourceId ResourceName ResourceType SkuId SkuPriceId SubAccountId "
    "SubAccountName Tags".split()
)
NUMBERS = set(
    "BilledCost ConsumedQuantity ContractedCost ContractedUnitPrice EffectiveCost ListCost ListUnitPrice "
    "PricingQuantity".split()
)
TIMES = {"BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart"}
VALUES = {
    "BillingCurrency": {"USD"},
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {"", "Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "PricingCategory": {"", "Standard", "Dynamic", "Committed", "Other"},
    "ServiceCategory": {"AI and Machine Learning"},
}


def faults(rows: list[dict[str, str]]) -> list[str]:
    """What a file breaks of the column rules."""
    found = [f"{name} is missing" for name in MANDATORY if name not in rows[0]]
    strangers = [name for name in rows[0].keys() - MANDATORY.keys() - OTHERS if not re.fullmatch(r"x_[A-Z]\w*", name)]
    found += [f"{name} is neither FOCUS's nor our own" for name in strangers]
    for row in rows:
        found += [f"{name} is null" for name, nullable in MANDATORY.items() if not nullable and not row.get(name)]
        found += [f"{name} is no number" for name in NUMBERS & row.keys() if not _number_or_null(row[name])]
        found += [f"{name} is no time" for name in TIMES & row.keys() if not _time(row[name])]
        found += [f"{name} has another value" for name, allowed in VALUES.items() if row.get(name) not in allowed]
        tags = json.loads(row["Tags"])
        if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
            found.append("Tags are no pairs of text")
        found += _contradictions(row)
    return found


def _contradictions(row: dict[str, str]) -> list[str]:
    checks = {
        "a quantity and its unit are null together": (row["ConsumedQuantity"] == "") == (row["ConsumedUnit"] == ""),
        "a price and its unit are null together": (row["PricingQuantity"] == "") == (row["PricingUnit"] == ""),
        "list cost is price times quantity": _is_product(row["ListCost"], row["ListUnitPrice"], row),
        "contracted cost is price times quantity": _is_product(row["ContractedCost"], row["ContractedUnitPrice"], row),
        "the charge lies in its billing period": row["BillingPeriodStart"] <= row["ChargePeriodStart"]
        and row["ChargePeriodEnd"] <= row["BillingPeriodEnd"],
        "periods have a length": row["ChargePeriodStart"] < row["ChargePeriodEnd"],
    }
    return [f"not true: {rule}" for rule, kept in checks.items() if not kept]


def _is_product(cost: str, price: str, row: dict[str, str]) -> bool:
    """Exactly for one request; a mean is rounded to twelve places, and so its product with many is off by as much."""
    quantity = Decimal(row["PricingQuantity"])
    rounding = Decimal("0.5E-12") * quantity if quantity > 1 else Decimal(0)
    return abs(Decimal(cost) - Decimal(price) * quantity) <= rounding


def _number_or_null(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?|", text) is not None


def _time(text: str) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text) is not None
