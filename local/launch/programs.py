"""The steps that are done with the project's own command line, as a user would do them."""

import re

from local.launch.errors import StepFailedError
from local.launch.layout import STACK_NAME, TENANT, Layout, project_environment
from local.launch.processes import Children

OVERLAY = "local/models.local.toml"
SECRET_KEY = re.compile(r"\btg_[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")


def environment(layout: Layout) -> dict[str, str]:
    """The environment in which `tollgate` acts on this stack."""
    return {**project_environment(layout), "TOLLGATE_STACK": STACK_NAME}


async def apply_models(layout: Layout, children: Children) -> None:
    """Stores the example catalogue, with the local settings on top.

    Raises:
        StepFailedError: the catalogue was refused.
    """
    overlay = ["--overlay", OVERLAY] if (layout.root / OVERLAY).exists() else []
    await children.run(
        "models-apply",
        [str(layout.python("run")), "-m", "cli", "models", "apply", "models.toml", *overlay],
        environment(layout),
        failure="`tollgate models apply` refused the catalogue",
        advice="mend models.toml as the message says, then run make run again.",
    )


async def create_key(layout: Layout, children: Children) -> str:
    """Creates an admin key and gives its secret.

    Raises:
        StepFailedError: the command failed, or printed no key.
    """
    command = [str(layout.python("run")), "-m", "cli", "keys", "create", "--tenant", TENANT, "--scopes", "admin"]
    printed = await children.run(
        "keys-create",
        command,
        environment(layout),
        failure="`tollgate keys create` could not create a key",
        advice="see the log; the emulator's log beside it may say more.",
    )
    log = layout.logs / "keys-create.log"
    log.unlink(missing_ok=True)  # a secret has no place in a log
    found = SECRET_KEY.search(printed)
    if found is None:
        raise StepFailedError(
            "`tollgate keys create` printed no secret key.",
            advice="run it by hand: .venv/run/bin/python -m cli keys create",
        )
    return found.group()
