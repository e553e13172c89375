"""Shapes of the answers, as models; a test holds them to what the gateway really answers."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """Base of all shapes. Clients should ignore fields that they do not know."""

    model_config = ConfigDict(extra="allow")


class ErrorDetail(Answer):
    """What went wrong. `param` names the request's field at fault."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(Answer):
    """Body of every answer with status 400 or more."""

    error: ErrorDetail


class PromptTokens(Answer):
    """Of the prompt: tokens that a provider paid by the token had in its prompt cache."""

    cached_tokens: int


class CompletionTokens(Answer):
    """Of the completion: tokens that were thought and not shown."""

    reasoning_tokens: int


class TokenUsage(Answer):
    """Tokens as OpenAI counts them; their parts are there where the container or provider reports them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokens | None = None
    completion_tokens_details: CompletionTokens | None = None


class AssistantMessage(Answer):
    """What the model said; `content` is null beside tool calls."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    tool_calls: list[dict[str, Any]] = []


class ChatChoice(Answer):
    """One answer of a chat."""

    index: int
    message: AssistantMessage
    logprobs: Any
    finish_reason: str


class Dropped(Answer):
    """A message or document, or a part of one, that was not sent."""

    index: int
    id: str
    tokens: int
    reason: Literal["budget", "duplicate", "orphan"]
    partial: bool


class Trimmed(Answer):
    """What trimming left out."""

    input_tokens_before: int
    input_tokens_after: int
    dropped_messages: list[Dropped]
    dropped_documents: list[Dropped]


class SizeOption(Answer):
    """A size of the model, as it stood for the request."""

    tier: Literal["small", "medium", "large"]
    estimated_cost_usd: str | None
    quality: float | None
    judged: int


class Choice(Answer):
    """Which size was chosen."""

    tier: Literal["small", "medium", "large"]
    complexity: float | None
    topic: str
    options: list[SizeOption]


class Escalation(Answer):
    """A first answer that was not good enough; its cost is part of the whole."""

    first_deployment: str
    failed_check: str
    first_cost_usd: str | None


class Explained(Answer):
    """What was done to a request before it was sent, where anything was."""

    trimmed: Trimmed | None = None
    choice: Choice | None = None
    escalation: Escalation | None = None


class Feedback(Answer):
    """Feedback that was taken; `recorded` is false where the inference was judged before."""

    object: Literal["feedback"]
    inference_id: str
    model: str
    deployment: str
    topic: str
    recorded: bool


class ChatCompletion(Explained):
    """A chat's answer. `usage` is null where the container does not count."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    service_tier: Literal["default", "flex", "priority"]
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: TokenUsage | None


class TextChoice(Answer):
    """One continuation of a text."""

    index: int
    text: str
    logprobs: Any
    finish_reason: str


class Completion(Explained):
    """A text's continuation."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    service_tier: Literal["default", "flex", "priority"]
    system_fingerprint: str
    choices: list[TextChoice]
    usage: TokenUsage | None


class Embedding(Answer):
    """A vector, as numbers or as base64 of little-endian 32-bit floats."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(Answer):
    """Tokens that were read; `estimated` is true where the container does not count."""

    prompt_tokens: int
    total_tokens: int
    estimated: bool = False


class EmbeddingList(Answer):
    """Vectors in the order of their texts."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class Response(Explained):
    """OpenAI's response object."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
    model: str
    background: bool
    error: dict[str, Any] | None
    incomplete_details: dict[str, Any] | None
    metadata: dict[str, str]
    output: list[dict[str, Any]]
    parallel_tool_calls: bool
    tool_choice: Any
    tools: list[dict[str, Any]]
    usage: dict[str, Any] | None


class Model(Answer):
    """What clients can ask for."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    description: str
    default_priority: Literal["high", "medium", "low"]
    kind: Literal["chat", "embedding", "custom", "any"]
    inference_types: list[Literal["realtime", "async", "batch"]]
    supports: list[str]


class ModelList(Answer):
    """All models."""

    object: Literal["list"]
    data: list[Model]


class Cost(Answer):
    """Dollars as decimal texts; null where not known."""

    estimated_cost_usd: str | None
    effective_cost_usd: str | None
    avoided_cost_usd: str | None


class InferenceUsage(Answer):
    """Tokens; null where the container does not count. Their parts are there where they are reported."""

    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None


class NearMatch(Answer):
    """The cached entry that was given: it was made for other words of the same question."""

    state: Literal["near"]
    matched: str
    age_seconds: int
    score: float


class Inference(Explained):
    """An inference that was answered at once, or a job in any state."""

    id: str
    object: Literal["inference"]
    status: Literal["queued", "submitted", "completed", "failed", "expired", "cancelled"]
    model: str
    inference_type: Literal["realtime", "async", "batch"]
    deployment: str
    created_at: str
    cost: Cost
    usage: InferenceUsage | None = None
    output: Any = None
    output_url: str | None = None
    error: dict[str, Any] | None = None
    cache: NearMatch | None = None


class InferenceList(Answer):
    """A page of jobs, newest first; `after` continues it."""

    object: Literal["list"]
    data: list[Inference]
    after: str | None
    has_more: bool


class RoadEstimate(Answer):
    """One road as the router saw it."""

    inference_type: Literal["realtime", "async", "batch"]
    expected_seconds: float
    estimated_cost_usd: str | None
    loaded_cost_usd: str | None
    ruled_out: str | None


class Route(Explained):
    """A decision that nothing was run for."""

    object: Literal["route"]
    model: str
    inference_type: Literal["realtime", "async", "batch"]
    deployment: str
    reason: str
    estimated_cost_usd: str | None
    expected_seconds: float
    fallback: str | None
    roads: list[RoadEstimate]
