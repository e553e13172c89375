"""GET /v1/control: how far the gateway is braked, what sleeps, why, and what was done for it."""

from tollgate.api.control_documents import control_document, place_document
from tollgate.api.http import Answer, Call, json_answer
from tollgate.services.brakes.queries import BrakeQueries


def control_answer(queries: BrakeQueries, call: Call) -> Answer:
    """The records. Only an admin sees causes, steps and places: they name endpoints and the owner's budgets."""
    control = queries.control()
    if "admin" not in call.owner.scopes:
        document = control_document(control, ())
        return json_answer(200, {name: document[name] for name in ("object", "level", "reason", "since", "until")})
    places = [place_document(record) for record in queries.places()]
    return json_answer(200, control_document(control, queries.steps(control)) | {"places": places})
