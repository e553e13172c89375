"""When functions are built again, how a layer is slimmed, and which parameters the local stack gets."""

import ast
import marshal
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from local.launch import build, layer
from local.launch.deploy import parameter_overrides
from local.launch.layout import ROOT, Layout, architecture, clean_environment, tool_environment


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a template, a function and a layer."""
    for name in ("template.yaml", "functions/one/app.py", "layers/tollgate/tollgate/domain/x.py", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize("changed", ["template.yaml", "functions/one/app.py", "layers/tollgate/tollgate/domain/x.py"])
def test_a_changed_source_is_built_again(checkout: Path, changed: str) -> None:
    """Template, functions and layer all count."""
    before = build.fingerprint(checkout)
    (checkout / changed).write_text("other")
    assert build.fingerprint(checkout) != before


def test_a_renamed_source_is_built_again(checkout: Path) -> None:
    """The same bytes under another name are another build."""
    before = build.fingerprint(checkout)
    (checkout / "functions/one/app.py").rename(checkout / "functions/one/other.py")
    assert build.fingerprint(checkout) != before


def test_what_is_not_packed_does_not_build_again(checkout: Path) -> None:
    """Neither compiled files nor documents are part of a function."""
    before = build.fingerprint(checkout)
    (checkout / "functions/one/__pycache__").mkdir()
    (checkout / "functions/one/__pycache__/app.pyc").write_text("compiled")
    (checkout / "README.md").write_text("other")
    assert build.fingerprint(checkout) == before


def test_a_slim_layer_keeps_what_is_called_and_brings_compiled_modules(tmp_path: Path) -> None:
    """Other services' descriptions go; modules come compiled, checked by nothing but their name."""
    data = tmp_path / "python" / "botocore" / "data"
    for service in ("dynamodb", "gamelift"):
        (data / service / "2012-08-10").mkdir(parents=True)
        (data / service / "2012-08-10" / "service-2.json.gz").touch()
        (data / service / "2012-08-10" / "examples-1.json.gz").touch()
    (data / "endpoints.json").touch()
    (tmp_path / "python" / "module.py").write_text("answer = 42\n")
    layer.slim(tmp_path)
    assert sorted(path.name for path in data.rglob("*") if path.is_file()) == ["endpoints.json", "service-2.json.gz"]
    compiled = (tmp_path / "python/__pycache__/module.cpython-313.pyc").read_bytes()
    assert int.from_bytes(compiled[4:8], "little") == 0b01  # PEP 552: hash-based, unchecked
    code = marshal.loads(compiled[16:])  # noqa: S302 - written by this very test
    assert code.co_filename == "/opt/python/module.py"


def test_functions_come_compiled_as_well(tmp_path: Path) -> None:
    """What stands beside the layer and has a handler is compiled for the place where Lambda mounts it."""
    (tmp_path / layer.LAYER / "python").mkdir(parents=True)
    (tmp_path / "GatewayFunction").mkdir()
    (tmp_path / "GatewayFunction" / "app.py").write_text("answer = 42\n")
    assert layer.main([str(tmp_path)]) == 0
    compiled = (tmp_path / "GatewayFunction/__pycache__/app.cpython-313.pyc").read_bytes()
    assert int.from_bytes(compiled[4:8], "little") == 0b01  # as above
    assert marshal.loads(compiled[16:]).co_filename == "/var/task/app.py"  # noqa: S302 - written by this very test


_BUILT = """\
Parameters:
  Stage:
    Type: String
    Default: prod
  Architecture:
    Type: String
    Default: arm64
    AllowedValues:
    - arm64
    - x86_64
    Description: Processor of the functions. arm64 costs about a fifth less; x86_64
      is for running on a PC.
"""
"""Beginning of a template as `sam build` 1.170 writes it."""


@pytest.mark.parametrize(("machine", "name"), [(0xB7, "arm64"), (0x3E, "x86_64")])
def test_a_build_is_deployed_for_its_own_processor_only(tmp_path: Path, machine: int, name: str) -> None:
    """CloudFormation refuses the other one, for which every function would fail at its first import."""
    packages = tmp_path / layer.LAYER / "python"
    packages.mkdir(parents=True)
    (packages / "library.so").write_bytes(b"\x7fELF".ljust(18, b"\0") + machine.to_bytes(2, "little"))
    (tmp_path / "template.yaml").write_text(_BUILT)
    layer.finish(tmp_path)
    parameters = yaml.safe_load((tmp_path / "template.yaml").read_text())["Parameters"]
    assert (parameters["Architecture"]["Default"], parameters["Architecture"]["AllowedValues"]) == (name, [name])
    assert parameters["Stage"] == {"Type": "String", "Default": "prod"}


def called_services(source: Path) -> set[str]:
    """The services that a file's `client("...")` and `resource("...")` calls name."""
    calls = [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Call)]
    names = {
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in {"client", "resource"}
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }
    return {str(name) for name in names}


def test_every_service_that_functions_call_stays_in_the_layer() -> None:
    """A boto3 client of a service outside the list would fail on AWS only."""
    sources = [*(ROOT / "functions").rglob("*.py"), *(ROOT / "layers" / "tollgate" / "tollgate").rglob("*.py")]
    called = set[str]().union(*(called_services(source) for source in sources))
    assert called, "the search finds no client at all; has their making moved?"
    assert called <= layer.SERVICES


def test_the_local_stage_gets_samconfigs_parameters_and_this_machines_processor(tmp_path: Path) -> None:
    """The processor of samconfig is a guess; functions run here."""
    (tmp_path / "samconfig.toml").write_text(
        '[local.deploy.parameters]\nparameter_overrides = "Stage=local Architecture=other InferRate=1000"\n'
    )
    overrides = parameter_overrides(tmp_path / "samconfig.toml")
    assert overrides == ["Stage=local", f"Architecture={architecture()}", "InferRate=1000"]


def test_servers_inherit_nothing_of_the_users_own_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions inherit the emulator's environment: a real profile or token in it could reach a real account."""
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real")
    monkeypatch.setenv("MY_SECRET", "real")
    layout = Layout(tmp_path, 4566)
    servers, tools = clean_environment(layout), tool_environment(layout)
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN"} & (set(servers) | set(tools))
    assert "MY_SECRET" not in servers
    assert servers["AWS_ENDPOINT_URL"] == tools["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4567"
    assert servers["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"] == "http://127.0.0.1:4568"
    assert servers["TMPDIR"] == tools["TMPDIR"] == str(tmp_path / ".local/4566/tmp")
