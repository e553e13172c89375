"""Makes what was built smaller and quicker to start with; both `make build` and the local build do this.

Two things cost a function time before its first line runs. botocore brings the description of every AWS service, 2,900
files of which Tollgate reads a dozen. And layer and function are mounted read-only, so Python compiles each module
again at every cold start unless they bring the compiled form along. An untreated build works all the same, only slower.

What was built for one processor does not run on the other, so the built template allows only that one.
"""

import argparse
import compileall
import py_compile
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

# Services that functions may call through boto3; a test holds this list to the sources.
SERVICES = frozenset(
    {
        "apigateway",
        "application-autoscaling",
        "bedrock-runtime",
        "budgets",
        "ce",
        "cloudformation",
        "cloudwatch",
        "dynamodb",
        "events",
        "lambda",
        "logs",
        "pricing",
        "s3",
        "sagemaker",
        "sagemaker-runtime",
        "sns",
        "ssm",
        "sts",
    }
)
LAYER = "TollgateLayer"
_MACHINES = {b"\xb7\x00": "arm64", b"\x3e\x00": "x86_64"}
"""AWS's names of processors, by the two bytes that an ELF file has for them (`e_machine`)."""
_MACHINE_AT = 18
_PARAMETER = re.compile(
    r"(^  Architecture:\n    Type: String\n    Default: )\w+(\n    AllowedValues:\n)(?:    - \w+\n)+", re.MULTILINE
)
MOUNTED_AT = "/opt/python"
FUNCTION_MOUNTED_AT = "/var/task"


def slim(layer: Path) -> None:
    """Removes the descriptions of services outside `SERVICES` and compiles every module.

    The compiled files carry a hash instead of their source's time of change (PEP 552), because packing and unpacking a
    layer changes that time.

    Args:
        layer: The built layer, the folder that contains `python/`.
    """
    packages = layer / "python"
    data = packages / "botocore" / "data"
    for service in data.iterdir() if data.is_dir() else ():
        if service.is_dir() and service.name not in SERVICES:
            shutil.rmtree(service)
    for examples in packages.rglob("examples-1.json*"):
        examples.unlink()
    _compile(packages, MOUNTED_AT)


def finish(build: Path) -> None:
    """Slims the layer of a build, compiles its functions as `slim` does the layer's modules, and settles the processor.

    Args:
        build: The folder that `sam build` wrote, with a folder for each resource.
    """
    slim(build / LAYER)
    _settle_processor(build)
    for handler in build.glob("*/app.py"):
        _compile(handler.parent, FUNCTION_MOUNTED_AT)


def _settle_processor(build: Path) -> None:
    """Leaves the parameter `Architecture` of the built template the one value for which the layer was built.

    Otherwise CloudFormation would take the other one, too, and every function would fail at its first import.
    """
    built_for = {_MACHINES.get(_machine_of(library), "") for library in (build / LAYER).rglob("*.so")}
    if len(built_for) != 1 or not (machine := built_for.pop()):
        return
    template = build / "template.yaml"
    template.write_text(_PARAMETER.sub(rf"\g<1>{machine}\g<2>    - {machine}\n", template.read_text()))


def _machine_of(library: Path) -> bytes:
    with library.open("rb") as file:
        return file.read(_MACHINE_AT + 2)[_MACHINE_AT:]


def _compile(modules: Path, mounted_at: str) -> None:
    compileall.compile_dir(
        modules,
        quiet=1,
        force=True,
        stripdir=str(modules),
        prependdir=mounted_at,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: the folder that `sam build` wrote."""
    parser = argparse.ArgumentParser(prog="python -m local.launch.layer", description="Finish what SAM built.")
    parser.add_argument("build", type=Path)
    finish(parser.parse_args(arguments).build)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
