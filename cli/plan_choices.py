"""The arguments of `tollgate plan` and `tollgate estimate` that describe the world, and what they mean."""

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from planner.strategies import Assumptions
from planner.tiers import small_speed
from planner.trace import Trace
from planner.workload import ClassMix
from planner.world import World, price_book
from tollgate.api.catalogue_file import read_catalogue
from tollgate.domain.catalogue import Priority, Timing
from tollgate.domain.price_book import PriceBook


@dataclass(frozen=True, slots=True)
class Choices:
    """What a plan is made with.

    Attributes:
        mix: of the classes that the trace does not name.
        others: instance types to put beside the planned one, with their speed where it is given.
        assumed: of the strategies.
    """

    mix: ClassMix
    world: World
    others: Mapping[str, float | None]
    assumed: Assumptions


def read_choices(arguments: argparse.Namespace, trace: Trace) -> Choices:
    """What the arguments say.

    Raises:
        CatalogueError: the catalogue is not valid.
        OSError: it cannot be read.
        PriceUnknownError: the price book does not have the instance.
        ValueError: an argument makes no sense.
    """
    book = price_book()
    if arguments.token_model and arguments.token_model not in book.tokens:
        raise ValueError(f"the price book knows {', '.join(sorted(book.tokens))}.")
    world = replace(
        World.of(arguments.instance_type, arguments.region, book),
        concurrency=arguments.concurrency,
        endpoint_startup=arguments.startup_seconds,
        timing=Timing(arguments.base_seconds, arguments.seconds_per_input_token, arguments.seconds_per_output_token),
        tokens=book.tokens[arguments.token_model].rates.interactive if arguments.token_model else None,
    )
    return Choices(_mix(arguments.mix), world, _types(arguments.instance_types), _assumptions(arguments, trace, book))


def _mix(text: str) -> ClassMix:
    reason = "--mix wants three shares that are not all zero, as in 0.1,0.3,0.6."
    try:
        shares = [float(share) for share in text.split(",")]
    except ValueError:
        raise ValueError(reason) from None
    if len(shares) != len(Priority) or min(shares) < 0 or not 0 < sum(shares) < float("inf"):
        raise ValueError(reason)
    return ClassMix(*shares)


def _types(text: str | None) -> dict[str, float | None]:
    """Speeds by instance type.

    Raises:
        ValueError: a speed is no number above 0.
    """
    found: dict[str, float | None] = {}
    for part in filter(None, (text or "").split(",")):
        name, _, speed = part.strip().partition("=")
        found[name] = float(speed) if speed else None
        if found[name] is not None and not 0 < float(speed) < float("inf"):
            raise ValueError(f"--instance-types wants speeds above 0, not {part}.")
    return found


def _assumptions(arguments: argparse.Namespace, trace: Trace, book: PriceBook) -> Assumptions:
    """With the smaller model's speed from the catalogue where one is given.

    Raises:
        CatalogueError: it is not valid.
        OSError: it cannot be read.
        ValueError: it does not have the model in two tiers.
    """
    assumed = Assumptions(
        trim_to=arguments.trim_to,
        small_tokens=arguments.small_tokens,
        discount=arguments.commitment_discount,
    )
    if arguments.catalogue is None:
        return assumed
    text = arguments.catalogue.read_text(encoding="utf-8")
    catalogue = read_catalogue(text, book, region=arguments.region, architecture="arm64", version=1)
    model = catalogue.models.get(arguments.model or "")
    speed = small_speed(model, trace) if model else None
    if speed is None:
        raise ValueError(f"--model wants one that {arguments.catalogue} has in two tiers.")
    return replace(assumed, small_speed=speed, speed_basis="catalogue")


def number(least: float, most: float = math.inf) -> Callable[[str], float]:
    """For an argument that wants a number in this range, both ends included; argparse says so where it is not."""

    def read(text: str) -> float:
        value = float(text)
        if not (math.isfinite(value) and least <= value <= most):
            wanted = f"{least:g} or more" if most == math.inf else f"from {least:g} to {most:g}"
            raise argparse.ArgumentTypeError(f"must be {wanted}, not {text}")
        return value

    read.__name__ = "number"  # argparse names it where the text is no number at all
    return read


def whole(least: int) -> Callable[[str], int]:
    """For an argument that wants a whole number, `least` or more."""

    def read(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be {least} or more, not {text}")
        return value

    read.__name__ = "whole number"
    return read


def _discount(text: str) -> Decimal:
    share = number(0.0, 0.99)(text)
    return Decimal(text) if share else Decimal(0)


_discount.__name__ = "share"


def add_world(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    base = Timing(0.2, 0.0001, 0.02)
    parser.add_argument("--instance-type", default="ml.g5.2xlarge")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--concurrency", type=whole(1), default=16, help="requests that an instance serves at a time")
    parser.add_argument("--base-seconds", type=number(0.0), default=base.base_seconds)
    parser.add_argument("--seconds-per-input-token", type=number(0.0), default=base.seconds_per_input_token)
    parser.add_argument("--seconds-per-output-token", type=number(0.0), default=base.seconds_per_output_token)
    parser.add_argument("--startup-seconds", type=number(0.0), default=300.0, help="of an endpoint's instance")
    parser.add_argument(
        "--mix", default="0,0.5,0.5", help="shares of high, medium, low where the trace names no class or deadline"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--token-model", help="id in the price book that could answer as well, paid by the token")
    parser.add_argument("--commitment-discount", type=_discount, default=Decimal("0.28"), help="of a year's commitment")
    parser.add_argument(
        "--instance-types",
        help="others to put beside the planned one, with their speed against it where it is measured: "
        "ml.g6.2xlarge,ml.g4dn.xlarge=0.4",
    )
    assumed = Assumptions()
    parser.add_argument(
        "--small-tokens",
        type=whole(0),
        default=assumed.small_tokens,
        help="inputs that a smaller model answers, at most",
    )
    parser.add_argument(
        "--trim-to", type=whole(1), default=assumed.trim_to, help="tokens of input that trimming leaves"
    )
    parser.add_argument("--catalogue", type=Path, help="models.toml, for how fast the smallest tier of --model is")
    parser.add_argument("--model", help="of the catalogue, with deployments in several tiers")
    parser.add_argument("--quick", action="store_true", help="leave out strategies, seeds and sensitivity")
    parser.add_argument("--out", type=Path, help="folder for the recommended settings and the pictures")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
