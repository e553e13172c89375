"""The AWS emulator: how it is started, and when it is ready."""

from local.launch.layout import HOST, Layout, clean_environment
from local.launch.processes import Child, Children
from local.launch.waiting import until_answers

START_SECONDS = 60.0
# The emulator ends functions that were not called for a while; a local stack keeps them warm as long as it lives.
WARM_SECONDS = 24 * 3600


def environment(layout: Layout) -> dict[str, str]:
    """The emulator's whole environment; the functions that it runs inherit it."""
    data = layout.temporary / "emulator"
    return {
        **clean_environment(layout),
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(layout.emulator_port),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LAMBDA_EXECUTOR": "local",
        "LAMBDA_WARM_TTL_SECONDS": str(WARM_SECONDS),
        "STATE_DIR": str(data / "state"),
        "S3_DATA_DIR": str(data / "s3"),
    }


async def start(layout: Layout, children: Children) -> Child:
    """Starts the emulator and waits until it answers.

    Raises:
        StepFailedError: it ended, or did not answer in time.
    """
    binary = layout.root / ".venv" / "emulator" / "bin" / "ministack"
    child = await children.start("emulator", [layout.python("emulator"), binary], environment(layout))
    await until_answers(f"{layout.emulator_url}/_ministack/health", child, children, START_SECONDS)
    return child
