"""GET /v1/control: how far the gateway is braked, why, and what was done for it."""

from tollgate.api.control_documents import control_document
from tollgate.api.http import Answer, Call, json_answer
from tollgate.services.brake_queries import BrakeQueries


def control_answer(queries: BrakeQueries, call: Call) -> Answer:
    """The record. Only an admin sees its causes and steps: they name endpoints and the owner's budgets."""
    control = queries.control()
    is_admin = "admin" in call.owner.scopes
    document = control_document(control, queries.steps(control) if is_admin else ())
    if not is_admin:
        document = {name: document[name] for name in ("object", "level", "reason", "since", "until")}
    return json_answer(200, document)
