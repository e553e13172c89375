"""`tollgate models compare` and `promote`: how variants do, and which one serves."""

import argparse
import time
from datetime import UTC, datetime

from cli.arguments import add
from cli.stack import Stack, StackError
from cli.tables import folding_table, new_console
from tollgate.adapters.documents.catalogue import catalogue_from_document
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogueWriter
from tollgate.adapters.dynamodb.registry.outcomes import RegistryOutcomes
from tollgate.domain.catalogue import Catalogue, Deployment
from tollgate.domain.choice.comparison import (
    Difference,
    Interval,
    Observed,
    Verdict,
    mean_difference,
    observed_of,
    share_difference,
)
from tollgate.domain.choice.outcomes import ESCALATED, TOPICS, Tally, total
from tollgate.domain.choice.promotion import promoted


def add_actions(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the actions."""
    comparing = add(
        actions,
        "compare",
        "cost, latency, errors and quality of a model's deployments",
        "models compare assistant",
        "models compare assistant --topic code",
    )
    comparing.add_argument("model", help="its name in the catalogue")
    comparing.add_argument("--topic", choices=(*TOPICS, ESCALATED), help="only requests of one kind")
    comparing.set_defaults(run=compare)
    promoting = add(
        actions, "promote", "let a deployment serve all the traffic of its tier", "models promote assistant next"
    )
    promoting.add_argument("model", help="its name in the catalogue")
    promoting.add_argument("deployment", help="of the model, without the model's name")
    promoting.set_defaults(run=promote)


def compare(stack: Stack, arguments: argparse.Namespace) -> int:
    """Print what the last four weeks say of each deployment, and of each against its tier's champion.

    Raises:
        StackError: no catalogue was applied yet.
    """
    catalogue = _in_force(stack)
    model = catalogue.model(arguments.model)
    outcomes = RegistryOutcomes(
        stack.tables, stack.registry, now=lambda: datetime.now(UTC), monotonic=time.monotonic
    ).of(model.name)
    tallies = {
        deployment.name: total(
            tally
            for (name, topic), tally in outcomes.items()
            if name == deployment.name and arguments.topic in {None, topic}
        )
        for deployment in model.deployments
    }
    observed = {name: observed_of(tally) for name, tally in tallies.items()}
    if not any(tally.requests or tally.judged for tally in tallies.values()):
        why = (
            "what runs is recorded within minutes"
            if model.choice is not None
            else "only models with 'choice' are recorded"
        )
        print(f"Nothing is on record for '{model.name}' yet: {why}.")
        return 0
    headings = ("deployment", "tier", "role", "requests", "USD", "seconds", "errors", "quality")
    rows = [_row(each, tallies[each.name], observed[each.name]) for each in model.deployments]
    title = f"{model.name}, last four weeks, 95 % intervals"
    table = folding_table(headings, title=title, names={"deployment": list(tallies)})
    for row in rows:
        table.add_row(*row)
    new_console().print(table)
    for tier in dict.fromkeys(deployment.tier for deployment in model.deployments):
        same = [deployment for deployment in model.deployments if deployment.tier is tier]
        champion = max(same, key=lambda d: (d.role is None, d.weight))
        for deployment in same:
            if deployment is not champion:
                print("\n".join(_against(champion, deployment, observed)))
    return 0


def promote(stack: Stack, arguments: argparse.Namespace) -> int:
    """Store a version in which the deployment serves its tier, and put it in force.

    Raises:
        StackError: no catalogue was applied yet.
        CatalogueError: the deployment cannot be promoted.
    """
    writer = RegistryCatalogueWriter(stack.tables, stack.registry)
    current = _in_force(stack)
    catalogue = promoted(current, arguments.model, arguments.deployment, version=writer.newest_version() + 1)
    writer.store(catalogue, now=datetime.now(UTC))
    writer.point_to(catalogue.version, expected=current.version)
    print(
        f"Version {catalogue.version} is in force: {arguments.model}/{arguments.deployment} serves its tier. "
        f"To undo: tollgate models rollback {current.version}. Change models.toml likewise before applying it again."
    )
    return 0


def _in_force(stack: Stack) -> Catalogue:
    writer = RegistryCatalogueWriter(stack.tables, stack.registry)
    document = writer.document(writer.current_version())
    if document is None:
        raise StackError("No catalogue was applied yet. Run: tollgate models apply models.toml")
    return catalogue_from_document(document)


def _row(deployment: Deployment, tally: Tally, seen: Observed) -> tuple[str, ...]:
    role = "champion" if deployment.role is None else deployment.role.value
    return (
        deployment.name,
        deployment.tier.value,
        f"{role}, weight {deployment.weight}",
        f"{tally.requests:.0f}",
        _figure(seen.usd, "{:.6f}"),
        _figure(seen.seconds, "{:.2f}"),
        _figure(seen.errors, "{:.1%}"),
        _figure(seen.quality, "{:.2f}"),
    )


def _figure(interval: Interval, form: str) -> str:
    if interval.mean is None:
        return "-"
    mean = form.format(interval.mean)
    if interval.high == float("inf"):
        return f"{mean} (one)"
    return f"{mean} [{form.format(interval.low)}, {form.format(interval.high)}]"


def _against(champion: Deployment, challenger: Deployment, observed: dict[str, Observed]) -> list[str]:
    one, other = observed[champion.name], observed[challenger.name]
    lines = [f"{challenger.name} against {champion.name}:"]
    lines += [
        f"  cost: {_said(mean_difference(one.usd, other.usd))}",
        f"  seconds: {_said(mean_difference(one.seconds, other.seconds))}",
        f"  errors: {_said(share_difference(one.errors, other.errors, more_is_better=False))}",
        f"  quality: {_said(share_difference(one.quality, other.quality, more_is_better=True))}",
    ]
    return lines


def _said(difference: Difference) -> str:
    figures = ""
    if difference.mean is not None and difference.high < float("inf"):
        figures = f" ({difference.mean:+.1%} [{difference.low:+.1%}, {difference.high:+.1%}])"
    if difference.verdict is Verdict.UNKNOWN:
        return f"{difference.verdict}{figures}; about {difference.needed} of each would do"
    return f"{difference.verdict}{figures}"
