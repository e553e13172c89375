"""The SageMaker stand-in: started, told about the stack, and restarted on request."""

from collections.abc import Mapping

from aiohttp import ClientSession, ClientTimeout

from local.launch.layout import Layout, project_environment
from local.launch.processes import Child, Children
from local.launch.waiting import until_answers

START_SECONDS = 60.0


def command(layout: Layout, outputs: Mapping[str, str]) -> list[str]:
    """The stand-in's command line; what the stack's outputs do not name yet is left out."""
    line = [str(layout.python("standin")), "-m", "local.sagemaker", "--port", str(layout.standin_port)]
    line += ["--aws-endpoint", layout.emulator_url, "--state-dir", str(layout.temporary / "sagemaker")]
    flags = {
        "--bucket": "BucketName",
        "--success-topic": "AsyncSuccessTopicArn",
        "--error-topic": "AsyncErrorTopicArn",
    }
    for flag, output in flags.items():
        if output in outputs:
            line += [flag, outputs[output]]
    return line


async def start(layout: Layout, children: Children, outputs: Mapping[str, str]) -> Child:
    """Starts the stand-in, writes its pid file and waits until it answers.

    Raises:
        StepFailedError: it ended, or did not answer in time.
    """
    child = await children.start("sagemaker", command(layout, outputs), project_environment(layout))
    await until_answers(f"{layout.standin_url}/_standin/state", child, children, START_SECONDS)
    # Written when it answers, so that whoever waits for a new id in the file may call the stand-in at once.
    layout.standin_pid_file.write_text(f"{child.process.pid}\n")
    return child


async def configure(layout: Layout, outputs: Mapping[str, str]) -> None:
    """Tells a running stand-in the bucket and topics of the deployed stack.

    Raises:
        aiohttp.ClientError: it refused, or is gone.
    """
    body = {
        "bucket": outputs["BucketName"],
        "success_topic_arn": outputs["AsyncSuccessTopicArn"],
        "error_topic_arn": outputs["AsyncErrorTopicArn"],
    }
    async with (
        ClientSession(timeout=ClientTimeout(total=30), raise_for_status=True) as session,
        session.put(f"{layout.standin_url}/_standin/config", json=body),
    ):
        pass
