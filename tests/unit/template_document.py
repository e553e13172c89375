"""The SAM template as Python values, for the tests that read it.

Intrinsic functions become one-key mappings, as in the JSON form of a template: ``{"Ref": "Api"}``,
``{"Fn::GetAtt": "Bucket.Arn"}``.
"""

import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from tollgate.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """SafeLoader that knows CloudFormation's short forms."""


def _intrinsic(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _intrinsic)


@cache
def template() -> dict[str, Any]:
    """The whole document."""
    document: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text(), Loader=_Loader)  # noqa: S506 - a SafeLoader
    return document


def resources(*types: str) -> dict[str, dict[str, Any]]:
    """Resources by logical id; of these types only, if any are given."""
    found: dict[str, dict[str, Any]] = template()["Resources"]
    return {name: resource for name, resource in found.items() if not types or resource["Type"] in types}


def functions() -> dict[str, dict[str, Any]]:
    """The functions by logical id."""
    return resources("AWS::Serverless::Function")


def folder_of(logical_id: str) -> str:
    """Name of a function's folder."""
    uri: str = functions()[logical_id]["Properties"]["CodeUri"]
    return uri.removeprefix("functions/").rstrip("/")


def settings_class(folder: str) -> type[Settings]:
    """The settings of the function in this folder."""
    module = importlib.import_module(f"functions.{folder}.app")
    (found,) = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Settings) and kind.__module__ == module.__name__
    ]
    return found


def events_of(logical_id: str) -> dict[str, dict[str, Any]]:
    """The triggers of a function by name; those that the API's own document names by their method and path."""
    found: dict[str, dict[str, Any]] = functions()[logical_id]["Properties"].get("Events", {})
    return {**found, **_routes_in_the_document(logical_id)}


def _routes_in_the_document(logical_id: str) -> dict[str, dict[str, Any]]:
    paths = resources()["Api"]["Properties"]["DefinitionBody"]["paths"]
    return {
        f"{method} {path}": {"Type": "Api", "Properties": {"Method": method, "Path": path}}
        for path, methods in paths.items()
        for method, operation in methods.items()
        for uri in operation["x-amazon-apigateway-integration"]["uri"]["Fn::If"][1:]
        if uri["Fn::Sub"][1]["Arn"] == {"Ref": f"{logical_id}.Alias"}
    }


def target(value: Any) -> str:
    """Logical id that a ``!Ref`` or ``!GetAtt`` points at, under a condition or not."""
    if isinstance(value, Mapping):
        if "Fn::If" in value:
            return target(value["Fn::If"][1])
        ref = value.get("Ref") or value.get("Fn::GetAtt")
        if isinstance(ref, str):
            return ref.split(".", maxsplit=1)[0]
    return ""


def statements() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement of every role, with the role's logical id: its own and those of the stack's managed policies."""
    for name, role in resources("AWS::IAM::Role").items():
        properties = role["Properties"]
        shared = filter(None, map(target, properties.get("ManagedPolicyArns", [])))
        documents = [
            properties["AssumeRolePolicyDocument"],
            *(resources()[policy]["Properties"]["PolicyDocument"] for policy in shared),
            *(policy["PolicyDocument"] for policy in properties.get("Policies", [])),
        ]
        for document in documents:
            for statement in document["Statement"]:
                yield name, statement.get("Fn::If", [None, statement])[1]


CALLED = {"SentencesFunction"}
"""Functions whose callers wait for their answer: what is lost is lost to them, and nothing is kept for later."""


def sent_events() -> set[str]:
    """Functions that others send events to, by their permission to."""
    return {
        target(resource)
        for _, statement in statements()
        if as_list(statement["Action"]) == ["lambda:InvokeFunction"]
        for resource in as_list(statement["Resource"])
    } - CALLED


def as_list(value: Any) -> list[Any]:
    """A value that may be one or many."""
    return value if isinstance(value, list) else [value]
