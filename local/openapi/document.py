"""OpenAPI 3.1: the routes, their bodies and their answers.

Bodies come from the very rules that the gateway checks them with, so the document cannot promise another check.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from pydantic_core import core_schema

from local.openapi import answers, cache_answers, file_answers, spending_answers
from local.openapi.headers import header_components
from local.openapi.operation import REFERENCE, Operation, described, error_responses, reference
from local.openapi.wording import tag_list, with_words
from tollgate.api.cache_bodies import KEEP_SCHEMA
from tollgate.api.feedback_routes import FEEDBACK_SCHEMA
from tollgate.api.inference_rules import INFERENCE_SCHEMA
from tollgate.api.openai.chat_body import CHAT
from tollgate.api.openai.file_bodies import COMPLETE_UPLOAD, CREATE_BATCH, CREATE_UPLOAD
from tollgate.api.openai.response_body import RESPONSE
from tollgate.api.openai.text_bodies import COMPLETION, EMBEDDING

if TYPE_CHECKING:
    from pydantic import BaseModel

_RUN_ERRORS = (400, 404, 409, 413, 422)
_MAKE_ERRORS = (400, 409, 413, 422)
_PART_FORM: Mapping[str, Any] = {
    "type": "object",
    "required": ["data"],
    "properties": {"data": {"type": "string", "contentMediaType": "application/octet-stream"}},
}
_FILE_FORM: Mapping[str, Any] = {
    "type": "object",
    "required": ["file", "purpose"],
    "properties": {
        "file": {"type": "string", "contentMediaType": "application/octet-stream"},
        "purpose": {"type": "string", "enum": ["batch", "user_data"]},
        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
        "expires_after[seconds]": {"type": "integer", "minimum": 3600, "maximum": 2592000},
    },
}


_INFERENCE = "InferenceRequest"
_KEEP = "CacheKeepRequest"
_VALUE = "/v1/cache/{namespace}/{key}"
_FEEDBACK = "FeedbackRequest"
_BODIES: Mapping[str, core_schema.CoreSchema] = {
    _INFERENCE: INFERENCE_SCHEMA,
    _FEEDBACK: FEEDBACK_SCHEMA,
    _KEEP: KEEP_SCHEMA,
    **{reader.name: reader.schema for reader in (CHAT, COMPLETION, EMBEDDING, RESPONSE)},
    **{reader.name: reader.schema for reader in (CREATE_UPLOAD, COMPLETE_UPLOAD, CREATE_BATCH)},
}

OPERATIONS = (
    Operation(
        "/v1/chat/completions",
        "post",
        "Chat",
        answers.ChatCompletion,
        body=CHAT.name,
        accepted=True,
        streams=True,
        errors=_RUN_ERRORS,
    ),
    Operation(
        "/v1/completions",
        "post",
        "Continue a text",
        answers.Completion,
        body=COMPLETION.name,
        accepted=True,
        streams=True,
        errors=_RUN_ERRORS,
    ),
    Operation(
        "/v1/embeddings",
        "post",
        "Embed texts",
        answers.EmbeddingList,
        body=EMBEDDING.name,
        accepted=True,
        errors=_RUN_ERRORS,
    ),
    Operation(
        "/v1/responses",
        "post",
        "Create a response, in the background or at once",
        answers.Response,
        body=RESPONSE.name,
        accepted=True,
        streams=True,
        errors=_RUN_ERRORS,
    ),
    Operation("/v1/responses/{id}", "get", "Look a background response up", answers.Response, errors=(404,)),
    Operation(
        "/v1/responses/{id}/cancel",
        "post",
        "Call a waiting response off",
        answers.Response,
        errors=(404, 409),
    ),
    Operation(
        "/v1/files",
        "post",
        "Upload a file of up to 4.5 MB",
        file_answers.File,
        form=_FILE_FORM,
        once=True,
        errors=_MAKE_ERRORS,
    ),
    Operation(
        "/v1/files",
        "get",
        "List your files",
        file_answers.FileList,
        errors=(400,),
        query=("purpose", "limit", "order", "after"),
    ),
    Operation("/v1/files/{id}", "get", "Look a file up", file_answers.File, errors=(404,)),
    Operation("/v1/files/{id}", "delete", "Delete a file", file_answers.FileDeleted, errors=(404,)),
    Operation("/v1/files/{id}/content", "get", "Fetch a file's content", None, raw=True, errors=(404,)),
    Operation(
        "/v1/uploads",
        "post",
        "Begin the upload of a larger file",
        file_answers.Upload,
        body=CREATE_UPLOAD.name,
        once=True,
        errors=_MAKE_ERRORS,
    ),
    Operation(
        "/v1/uploads/{id}/parts",
        "post",
        "Send a part of an upload, of up to 4.5 MB",
        file_answers.UploadPart,
        form=_PART_FORM,
        once=True,
        errors=(400, 404, 409, 413, 422),
    ),
    Operation(
        "/v1/uploads/{id}/complete",
        "post",
        "End an upload, which makes a file of it",
        file_answers.Upload,
        body=COMPLETE_UPLOAD.name,
        once=True,
        errors=(400, 404, 409, 413, 422),
    ),
    Operation(
        "/v1/uploads/{id}/cancel",
        "post",
        "Call an upload off",
        file_answers.Upload,
        once=True,
        errors=(400, 404, 409, 422),
    ),
    Operation(
        "/v1/batches",
        "post",
        "Run the requests of a file within a day",
        file_answers.Batch,
        body=CREATE_BATCH.name,
        once=True,
        errors=(*_MAKE_ERRORS, 404),
    ),
    Operation(
        "/v1/batches",
        "get",
        "List your batches",
        file_answers.BatchList,
        errors=(400,),
        query=("limit", "after"),
    ),
    Operation("/v1/batches/{id}", "get", "Look a batch up", file_answers.Batch, errors=(404,)),
    Operation(
        "/v1/batches/{id}/cancel",
        "post",
        "Call a batch off",
        file_answers.Batch,
        once=True,
        errors=(400, 404, 409, 422),
    ),
    Operation("/v1/models", "get", "List the models", answers.ModelList),
    Operation("/v1/models/{model}", "get", "Look a model up", answers.Model, errors=(404,)),
    Operation("/v1/openapi.json", "get", "This document", None),
    Operation(
        "/v1/inferences",
        "post",
        "Run an inference on the road that its priority or deadline asks for",
        answers.Inference,
        body=_INFERENCE,
        accepted=True,
        errors=_RUN_ERRORS,
    ),
    Operation(
        "/v1/inferences",
        "get",
        "List your jobs",
        answers.InferenceList,
        errors=(400,),
        query=("status", "limit", "after"),
    ),
    Operation("/v1/inferences/{id}", "get", "Look a job up", answers.Inference, errors=(404,)),
    Operation("/v1/inferences/{id}", "delete", "Call a waiting job off", answers.Inference, errors=(404, 409)),
    Operation(
        "/v1/route",
        "post",
        "Which road a request would take, at what price; runs nothing",
        answers.Route,
        body=_INFERENCE,
        errors=(400, 404, 413, 422),
    ),
    Operation(
        "/v1/feedback", "post", "Say how good an answer was", answers.Feedback, body=_FEEDBACK, errors=(400, 404, 413)
    ),
    Operation("/v1/budgets", "get", "What is left of budgets", spending_answers.BudgetList),
    Operation("/v1/control", "get", "How far the spend brakes are on, what sleeps, and why", spending_answers.Control),
    Operation(
        "/v1/usage",
        "get",
        "What requests cost and how they went",
        spending_answers.UsageReport,
        errors=(400,),
        query=("group_by", "from", "to"),
    ),
    Operation(
        "/v1/recommendations",
        "get",
        "Which instances fit their work; for scope admin",
        spending_answers.RecommendationList,
        errors=(404,),
    ),
    Operation("/v1/workflows/{id}", "get", "What a workflow run has cost", spending_answers.Workflow, errors=(404,)),
    Operation(
        "/v1/cache/lookup",
        "post",
        "How the cache would answer a request; runs nothing",
        cache_answers.CacheLookup,
        body=_INFERENCE,
        errors=(400, 404, 413, 422),
    ),
    Operation(
        "/v1/cache",
        "delete",
        "Forget kept answers: by key, model, namespace, or all",
        cache_answers.CacheDeleted,
        errors=(400, 404),
        query=("key", "model", "namespace", "all"),
    ),
    Operation(
        _VALUE,
        "put",
        "Keep a result of your own",
        cache_answers.CacheValueKept,
        body=_KEEP,
        errors=(400, 413),
    ),
    Operation(_VALUE, "get", "Fetch a result of your own", cache_answers.CacheValue, errors=(400, 404)),
    Operation(_VALUE, "delete", "Forget a result of your own", cache_answers.CacheDeleted, errors=(400,)),
)


def openapi_document() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tollgate",
            "version": "1",
            "description": "Sends each inference request down the cheapest SageMaker road that still meets its need.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"api_key": []}],
        "tags": tag_list(),
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "headers": header_components(),
            "responses": error_responses(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "api_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def openapi_text() -> str:
    """The document as it is kept and served."""
    return json.dumps(openapi_document(), indent=1, ensure_ascii=False) + "\n"


def _schemas() -> dict[str, Any]:
    shapes: dict[str, type[BaseModel]] = {op.answer.__name__: op.answer for op in OPERATIONS if op.answer is not None}
    shapes["Error"] = answers.Error
    sources = {**_BODIES, **{name: shape.__pydantic_core_schema__ for name, shape in shapes.items()}}
    inputs: list[tuple[Any, JsonSchemaMode, core_schema.CoreSchema]] = [
        (name, "validation", schema) for name, schema in sources.items()
    ]
    roots, definitions = GenerateJsonSchema(ref_template=REFERENCE).generate_definitions(inputs)
    found: dict[str, Any] = {str(name): schema for name, schema in definitions.items()}
    found |= {str(name): schema for (name, _), schema in roots.items() if schema != reference(str(name))}
    return dict(sorted(with_words(found).items()))
