"""The arguments of `tollgate plan` and `tollgate estimate` that describe the world, and what they mean."""

import argparse
from collections.abc import Mapping
from copy import replace
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from cli.arguments import natural, number, positive, share
from planner.instance_types import types_beside
from planner.opening import unreadable
from planner.strategies import Assumptions
from planner.tiers import small_speed
from planner.trace import Trace
from planner.workload import ClassMix
from planner.world import World, price_book
from tollgate.api.catalogue_file import read_catalogue
from tollgate.domain.catalogue import Priority, Timing
from tollgate.domain.costs.price_book import PriceBook


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
        TraceError: it cannot be read.
        PriceUnknownError: the price book does not have an instance.
        SpeedUnknownError: of an instance that is put beside the planned one nobody knows how fast it is.
        ValueError: an argument makes no sense.
    """
    book = price_book()
    if arguments.token_model and arguments.token_model not in book.tokens:
        raise ValueError(f"the price book knows {', '.join(sorted(book.tokens))}.")
    if arguments.token_model and any(
        seconds >= 0 and not read + written
        for seconds, read, written in zip(trace.durations, trace.input_tokens, trace.output_tokens, strict=True)
    ):
        raise ValueError("--token-model needs a trace with the tokens of every request.")
    world = replace(
        World.of(arguments.instance_type, arguments.region, book),
        concurrency=arguments.concurrency,
        endpoint_startup=arguments.startup_seconds,
        timing=Timing(arguments.base_seconds, arguments.seconds_per_input_token, arguments.seconds_per_output_token),
        tokens=book.tokens[arguments.token_model].rates if arguments.token_model else None,
        token_model=arguments.token_model or "",
    )
    others = _types(arguments.instance_types)
    # What is wrong with them is said now, not when everything else has been replayed.
    types_beside(arguments.instance_type, arguments.region, others)
    return Choices(_mix(arguments.mix), world, others, _assumptions(arguments, trace, book))


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
        try:
            found[name] = positive(speed) if speed else None
        except argparse.ArgumentTypeError:
            raise ValueError(f"--instance-types wants speeds above 0, not {part}.") from None
    return found


def _assumptions(arguments: argparse.Namespace, trace: Trace, book: PriceBook) -> Assumptions:
    """With the smaller model's speed from the catalogue where one is given.

    Raises:
        CatalogueError: it is not valid.
        TraceError: it cannot be read.
        ValueError: it does not have the model in two tiers.
    """
    assumed = Assumptions(
        trim_to=arguments.trim_to,
        small_tokens=arguments.small_tokens,
        discount=arguments.commitment_discount,
    )
    if arguments.catalogue is None:
        if arguments.model:
            raise ValueError("--model is one of the catalogue that --catalogue names.")
        return assumed
    try:
        text = arguments.catalogue.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(arguments.catalogue, error) from error
    catalogue = read_catalogue(text, book, region=arguments.region, architecture="arm64", version=1)
    model = catalogue.models.get(arguments.model or "")
    speed = small_speed(model, trace) if model else None
    if speed is None:
        raise ValueError(f"--model wants one that {arguments.catalogue} has in two tiers.")
    return replace(assumed, small_speed=speed, speed_basis="catalogue")


def add_world(parser: argparse.ArgumentParser) -> None:
    """Declare what a plan assumes of the world: instance, prices, speed."""
    base = Timing(0.2, 0.0001, 0.02)
    shown = "(default: %(default)s)"
    parser.add_argument("--instance-type", default="ml.g5.2xlarge", help=f"SageMaker's name for it {shown}")
    parser.add_argument("--region", default="us-east-1", help=f"whose prices count {shown}")
    parser.add_argument(
        "--concurrency", type=natural, default=16, help=f"requests that an instance serves at a time {shown}"
    )
    parser.add_argument(
        "--base-seconds", type=number, default=base.base_seconds, help=f"of every request, whatever its size {shown}"
    )
    parser.add_argument(
        "--seconds-per-input-token", type=number, default=base.seconds_per_input_token, help=f"to read one {shown}"
    )
    parser.add_argument(
        "--seconds-per-output-token", type=number, default=base.seconds_per_output_token, help=f"to write one {shown}"
    )
    parser.add_argument("--startup-seconds", type=positive, default=300.0, help=f"of an endpoint's instance {shown}")
    parser.add_argument(
        "--mix",
        default="0,0.5,0.5",
        help=f"shares of high, medium, low where the trace names no class or deadline {shown}",
    )
    parser.add_argument("--seed", type=int, default=1, help=f"of everything that is drawn {shown}")
    parser.add_argument(
        "--token-model",
        help="id in the price book of a model that answers as well, paid by the token",
    )
    parser.add_argument(
        "--commitment-discount", type=share, default=Decimal("0.28"), help=f"of a year's commitment {shown}"
    )
    parser.add_argument(
        "--instance-types",
        help="others to put beside the planned one, with their speed against it where it is measured: "
        "ml.g6.2xlarge,ml.g4dn.xlarge=0.4",
    )
    assumed = Assumptions()
    parser.add_argument(
        "--small-tokens",
        type=natural,
        default=assumed.small_tokens,
        help=f"inputs that a smaller model answers, at most {shown}",
    )
    parser.add_argument(
        "--trim-to", type=natural, default=assumed.trim_to, help=f"tokens of input that trimming leaves {shown}"
    )
    parser.add_argument("--catalogue", type=Path, help="models.toml, for how fast the smallest tier of --model is")
    parser.add_argument("--model", help="of the catalogue, with deployments in several tiers")
    parser.add_argument("--quick", action="store_true", help="leave out strategies, seeds and sensitivity")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for the recommended settings and the pictures")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
