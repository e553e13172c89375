"""The workflow run that a request belongs to, as its headers name it."""

import re
from collections.abc import Mapping

from tollgate.domain.errors import InvalidRequestError
from tollgate.services.requests.admission import NO_RUN, Run

_NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def run_of(headers: Mapping[str, str]) -> Run:
    """The run in ``x-tollgate-workflow``, and the call in ``x-tollgate-parent`` that this one is made for.

    Raises:
        InvalidRequestError: a name is empty, too long or not plain, or a parent comes without a run.
    """
    workflow, parent = headers.get("x-tollgate-workflow"), headers.get("x-tollgate-parent")
    if workflow is None and parent is None:
        return NO_RUN
    for header, name in (("x-tollgate-workflow", workflow), ("x-tollgate-parent", parent)):
        if name is not None and _NAME.fullmatch(name) is None:
            raise InvalidRequestError(f"'{header}' must be 1 to 128 of A-Z a-z 0-9 . _ : -", param=header)
    if workflow is None:
        raise InvalidRequestError("'x-tollgate-parent' needs 'x-tollgate-workflow'.", param="x-tollgate-workflow")
    return Run(workflow, parent or "")
