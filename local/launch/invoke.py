"""`make invoke`: one function in Lambda's own container, on the data of a running stack."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from typing import TYPE_CHECKING

from local.launch import sam_local, state
from local.launch.build import build_folder
from local.launch.docker_door import docker_door
from local.launch.errors import LaunchError, NotRunningError
from local.launch.layout import TENANT

if TYPE_CHECKING:
    from pathlib import Path

    from local.launch.layout import Layout

# What the samples in events/ say in place of what only a running stack knows.
_SAMPLE_KEY = re.compile(r"\btg_example0+\b")
_SAMPLE_BUCKET = re.compile(r"\btollgate-bucket-example\b")
_SAMPLE_TENANT = re.compile(r'("tenant":\s*)"acme"')
_SAMPLE_RESPONSE = re.compile(r"\bresp_01k[0-9a-z]{23}\b")
_SAMPLE_JOB = {
    "inf_": re.compile(r"\binf_01k[0-9a-z]{23}\b"),
    "tollgate-": re.compile(r"\btollgate-[a-z0-9]+-01k[0-9a-z]{23}\b"),
}


def sample_event(root: Path, function: str, event: str) -> str:
    """The text of a sample; `event` is its name, or the path of a file of one's own.

    Raises:
        LaunchError: there is no such sample; the message lists the function's own, or else all functions.
    """
    folder = root / "events"
    own = root / event
    if event.endswith(".json") and own.is_file():
        return own.read_text()
    path = folder / function / f"{event}.json"
    if not path.is_file():
        if function and path.parent.is_dir():
            names, what = (sample.stem for sample in path.parent.glob("*.json")), f"EVENT for FUNCTION={function}"
        else:
            names, what = (found.name for found in folder.iterdir() if found.is_dir()), "FUNCTION"
        raise LaunchError(
            f"There is no sample events/{function or '?'}/{event or '?'}.json.\n"
            f"What to do: take one of these as {what}: {', '.join(sorted(names))}.\n"
            "For example: make invoke FUNCTION=gateway EVENT=inference_high"
        )
    return path.read_text()


def filled(text: str, *, key: str, bucket: str, job: str | None) -> str:
    """The sample with this stack's key, its tenant and bucket, and with a real job's id where one is given.

    A job is the id of an inference (`inf_...`), which is a response's too (`resp_...`), or the name of a transform job
    (`tollgate-...`).

    Raises:
        LaunchError: `job` is neither.
    """
    text = _SAMPLE_BUCKET.sub(bucket, _SAMPLE_KEY.sub(key, text))
    text = _SAMPLE_TENANT.sub(rf'\1"{TENANT}"', text)
    if job is None:
        return text
    for beginning, pattern in _SAMPLE_JOB.items():
        if job.startswith(beginning) and re.fullmatch(r"[A-Za-z0-9_-]+", job):
            text = _SAMPLE_RESPONSE.sub(f"resp_{job.removeprefix('inf_')}", text)
            return pattern.sub(job, text)
    raise LaunchError(
        f"JOB={job} is not the id of an inference (inf_...) or the name of a transform job (tollgate-...)."
    )


async def invoke(layout: Layout, function: str, event: str, job: str | None) -> int:
    """Runs one function once with `sam local invoke`; returns SAM's exit code.

    Raises:
        LaunchError: no stack runs, no Docker engine answers, or there is no such sample.
    """
    logical_id = "".join(part.title() for part in function.split("_")) + "Function"
    text = filled(
        sample_event(layout.root, function, event), key=_key(layout), bucket=_outputs(layout)["BucketName"], job=job
    )
    return await _sam(layout, "invoke", logical_id, "--event", "-", given=json.dumps(json.loads(text)).encode())


async def _sam(layout: Layout, *arguments: str, given: bytes | None = None) -> int:
    command = sam_local.command(layout, build_folder(layout.root), *arguments)
    async with docker_door((layout.emulator_port, layout.standin_port)):
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=layout.root,
            env=dict(sam_local.sam_environment(layout)),
            stdin=None if given is None else asyncio.subprocess.PIPE,
        )
        # Ctrl-C reaches SAM by itself; asked to end in another way, it would leave its containers running.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, process.send_signal, signal.SIGINT)
        try:
            await process.communicate(given)
        except asyncio.CancelledError:
            await process.wait()
            raise
        return process.returncode or 0


def _outputs(layout: Layout) -> dict[str, str]:
    record = state.StackRecord.read(layout.record_file)
    if record is None or not record.ready:
        raise NotRunningError(layout.port)
    return record.outputs


def _key(layout: Layout) -> str:
    _outputs(layout)
    return dict(line.split("=", 1) for line in layout.env_file.read_text().splitlines())["TOLLGATE_KEY"]
