"""Where a local stack keeps its files and which ports it uses."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_PORT = 4566
HOST = "127.0.0.1"
REGION = "us-east-1"
STAGE = "local"
STACK_NAME = "tollgate"
TENANT = "local"
"""Of the key that the launcher makes."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths and ports of one stack, all derived from the repository's root and the front door's port."""

    root: Path
    port: int

    @property
    def emulator_port(self) -> int:
        """The AWS emulator's port."""
        return self.port + 1

    @property
    def standin_port(self) -> int:
        """The SageMaker stand-in's port."""
        return self.port + 2

    @property
    def url(self) -> str:
        """The base URL that clients use."""
        return f"http://{HOST}:{self.port}"

    @property
    def emulator_url(self) -> str:
        """The AWS endpoint for every service but SageMaker."""
        return f"http://{HOST}:{self.emulator_port}"

    @property
    def standin_url(self) -> str:
        """The endpoint of SageMaker and its runtime."""
        return f"http://{HOST}:{self.standin_port}"

    @property
    def state(self) -> Path:
        """The folder of this stack's state, logs and temporary files."""
        return self.root / ".local" / str(self.port)

    @property
    def temporary(self) -> Path:
        """The temporary folder of every process of the stack; removed when the stack stops."""
        return self.state / "tmp"

    @property
    def logs(self) -> Path:
        """The folder of the logs of the last run."""
        return self.state / "logs"

    @property
    def env_file(self) -> Path:
        """`TOLLGATE_URL` and `TOLLGATE_KEY` of this stack, as KEY=value lines."""
        return self.state / "env"

    @property
    def sam_variables_file(self) -> Path:
        """The variables of every function of this stack, for `sam local invoke --env-vars`."""
        return self.state / "sam-env.json"

    @property
    def last_env_file(self) -> Path:
        """The same for the stack that became ready last."""
        return self.root / ".local" / "env"

    @property
    def lock_file(self) -> Path:
        """Locked while the stack runs; holds the launcher's process id."""
        return self.state / "launcher.pid"

    @property
    def record_file(self) -> Path:
        """What the stack consists of, as JSON: addresses, resources and processes."""
        return self.state / "stack.json"

    @property
    def standin_pid_file(self) -> Path:
        """The process id of the SageMaker stand-in, which may be killed and restarted."""
        return self.state / "standin.pid"

    def python(self, environment: str) -> Path:
        """The interpreter of one of the environments under `.venv/`."""
        return self.root / ".venv" / environment / "bin" / "python"

    def relative(self, path: Path) -> str:
        """A path as a person standing at the repository's root would type it."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def architecture() -> str:
    """This machine's processor in Lambda's words: functions run here, so their wheels must be for here."""
    return "arm64" if platform.machine().lower() in {"arm64", "aarch64"} else "x86_64"


def aws_environment(layout: Layout) -> dict[str, str]:
    """The AWS variables that point any SDK at the local stack, and at nothing else."""
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_ENDPOINT_URL": layout.emulator_url,
        "AWS_ENDPOINT_URL_SAGEMAKER": layout.standin_url,
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": layout.standin_url,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": layout.standin_url,
        "AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING": layout.standin_url,
    }


def clean_environment(layout: Layout) -> dict[str, str]:
    """A small environment for the stack's servers: functions inherit it, so the user's own variables stay out."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ}
    return {**kept, **aws_environment(layout), "TMPDIR": str(layout.temporary), "PYTHONUNBUFFERED": "1"}


def tool_environment(layout: Layout) -> dict[str, str]:
    """The user's environment for tools that install packages (index, proxy, certificates), with AWS pointed here."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "SAM_CLI_")) and name not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    }
    # `sam build` looks on PATH for the runtime's own Python with pip; the environment `pip` holds both.
    path = os.pathsep.join([str(layout.root / ".venv" / "pip" / "bin"), kept.get("PATH", os.defpath)])
    return {
        **kept,
        **aws_environment(layout),
        "PATH": path,
        "TMPDIR": str(layout.temporary),
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(layout.root / ".local" / "sam" / "cli"),
    }


def project_environment(layout: Layout) -> dict[str, str]:
    """The environment for the project's own programs, started from the sources."""
    sources = os.pathsep.join([str(layout.root / "layers" / "tollgate"), str(layout.root)])
    return {**clean_environment(layout), "PYTHONPATH": sources}
