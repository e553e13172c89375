"""Streams of model containers: server-sent events or lines of JSON, in OpenAI's chunks or Hugging Face's tokens.

One reader for all of them, since every line says what it is: vLLM and DJL-LMI send OpenAI's chunks as events, TGI sends
tokens as events, DJL-LMI tokens as lines. SageMaker cuts the bytes wherever it likes. A container that does not stream
answers with one document, which is a stream of one piece.
https://docs.djl.ai/master/docs/serving/serving/docs/lmi/user_guides/lmi_input_output_schema.html
https://huggingface.co/docs/text-generation-inference/conceptual/streaming
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tollgate.adapters.dialects.inputs import count_of
from tollgate.adapters.dialects.messages import reported_usage
from tollgate.domain.errors import ModelFailedError
from tollgate.domain.generated import Choice, choices_in
from tollgate.domain.jobs.job import Usage
from tollgate.domain.json_values import escaped_json, json_text, strict_json
from tollgate.ports.streams import Delta, StreamReader

_DONE = "[DONE]"
_TOKEN_REASONS: Mapping[str, str] = {"eos_token": "stop", "stop_sequence": "stop"}
_JOINED = ("content", "refusal", "reasoning_content")
_DETAILS = ("prompt_tokens_details", "completion_tokens_details")
_CUT = "cut"
"""In place of a finish reason: no complete answer ends with it, so none that was cut is ever kept."""

_NOT_UNDERSTOOD = "The model container sent a piece that nobody understands."
_LARGEST_LINE = 16 * 1024 * 1024


class ContainerStreams:
    """The `StreamForms` of all dialects.

    Args:
        secrets: that no error may repeat, asked for when there is one.
    """

    def __init__(self, secrets: Callable[[], Iterable[str]] = tuple) -> None:
        self._secrets = secrets

    def ask(self, body: bytes) -> bytes:
        """See `StreamForms`; OpenAI's bodies ask for the usage as well."""
        document = strict_json(body)
        if not isinstance(document, dict):
            return body
        document["stream"] = True
        if "messages" in document or "prompt" in document:
            document["stream_options"] = {"include_usage": True}
        return escaped_json(document)

    def reader(self) -> StreamReader:
        """See `StreamForms`."""
        return ChunkReader(self._secrets)


class _Gathered:
    """One choice as far as it has come."""

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}
        self.calls: dict[int, dict[str, Any]] = {}
        self.logprobs: list[Any] = []
        self.finish_reason: str | None = None

    def add(self, delta: Delta) -> None:
        for name in _JOINED:
            if (text := delta.fields.get(name)) is None:
                continue
            if not isinstance(text, str):
                # Left out, it would be missing from the answer that is kept.
                raise TypeError(name)
            self.texts.setdefault(name, []).append(text)
        for call in delta.fields.get("tool_calls") or ():
            index = call.get("index")
            _merge_call(self.calls.setdefault(index if isinstance(index, int) else len(self.calls), {}), call)
        if isinstance(delta.logprobs, dict):
            self.logprobs += delta.logprobs.get("content") or ()
        self.finish_reason = delta.finish_reason or self.finish_reason

    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": None}
        message |= {name: "".join(texts) for name, texts in self.texts.items()}
        if self.calls:
            message["tool_calls"] = [self.calls[position] for position in sorted(self.calls)]
        return message

    @property
    def text(self) -> str:
        return "".join(self.texts.get("content", ()))


class ChunkReader:
    """The `StreamReader` for every container; `secrets` as for `ContainerStreams`."""

    def __init__(self, secrets: Callable[[], Iterable[str]] = tuple) -> None:
        self._secrets = secrets
        self._pending = b""
        self._choices: dict[int, _Gathered] = {}
        self._form = ""
        self._document: Any = None
        self._input_tokens: int | None = None
        self._output_tokens: int | None = None
        self._details: dict[str, Any] = {}
        self._pieces = 0

    def feed(self, data: bytes) -> Sequence[Delta]:
        """See `StreamReader`."""
        self._pending += data
        *lines, self._pending = self._pending.split(b"\n")
        if not self._form and any(not _is_complete(line) for line in lines):
            # A document in several lines, which only its end completes.
            self._pending = b"\n".join([*lines, self._pending])
            lines = []
        if len(self._pending) > _LARGEST_LINE:
            raise ModelFailedError("The model container sent a line without end.", original_status=502)
        return [delta for line in lines for delta in self._line(line)]

    def end(self) -> Sequence[Delta]:
        """See `StreamReader`; a choice without a reason to finish broke off."""
        rest, self._pending = self._pending, b""
        found = list(self._line(rest))
        if not self._form:
            raise ModelFailedError("The model container answered with nothing.", original_status=502)
        if self._document is None and not all(choice.finish_reason for choice in self._choices.values()):
            raise ModelFailedError("The model's answer broke off.", original_status=502)
        return found

    def cut(self) -> None:
        """See `StreamReader`."""
        for choice in self._choices.values():
            choice.finish_reason = None

    def usage(self) -> Usage:
        """See `StreamReader`."""
        told = reported_usage(self._details)
        return told._replace(input_tokens=self._input_tokens, output_tokens=self._output_tokens)

    @property
    def pieces(self) -> int:
        """See `StreamReader`."""
        return self._pieces

    def whole(self, usage: Usage) -> bytes:
        """See `StreamReader`."""
        if self._document is not None:
            return json_text(self._document).encode()
        choices = [self._choices[index] for index in sorted(self._choices)] or [_Gathered()]
        if self._form == "token":
            (first, *_) = choices
            details = {
                "finish_reason": first.finish_reason or _CUT,
                "generated_tokens": usage.output_tokens,
                "input_length": usage.input_tokens,
            }
            return json_text([{"generated_text": first.text, "details": details}]).encode()
        kind = "text_completion" if self._form == "text" else "chat.completion"
        document: dict[str, Any] = {
            "object": kind,
            "choices": [self._closed(index, choice) for index, choice in enumerate(choices)],
            "usage": {
                "prompt_tokens": usage.input_tokens,
                "completion_tokens": usage.output_tokens,
                **self._details,
            },
        }
        return json_text(document).encode()

    def _closed(self, index: int, choice: _Gathered) -> dict[str, Any]:
        closed: dict[str, Any] = {"index": index, "finish_reason": choice.finish_reason or _CUT}
        closed |= {"text": choice.text} if self._form == "text" else {"message": choice.message()}
        if choice.logprobs:
            closed["logprobs"] = {"content": choice.logprobs}
        return closed

    def _line(self, line: bytes) -> Sequence[Delta]:
        text = _payload(line)
        if not text or text == _DONE:
            return ()
        try:
            document = strict_json(text.encode())
        except ValueError as error:
            raise ModelFailedError(
                "The model container sent something that is no JSON.", original_status=502
            ) from error
        try:
            found = self._read(document)
            for delta in found:
                self._choices.setdefault(delta.index, _Gathered()).add(delta)
        except (AttributeError, TypeError) as error:
            # A field of another kind, where the caller may have seen the pieces before: the same end as any broken one.
            raise ModelFailedError(_NOT_UNDERSTOOD, original_status=502) from error
        return found

    def _read(self, document: Any) -> Sequence[Delta]:
        if isinstance(document, dict):
            if document.get("error") or document.get("object") == "error":
                raise _reported(document, self._secrets())
            self._note_usage(document.get("usage"))
            choices = document.get("choices")
            if isinstance(choices, list) and all(_is_piece(choice) for choice in choices):
                return [self._chunk(choice) for choice in choices]
            if isinstance(document.get("token"), dict):
                return [self._token(document)]
        if self._form:
            raise ModelFailedError(_NOT_UNDERSTOOD, original_status=502)
        self._form, self._document = "document", document
        return _pieces_of(document)

    def _chunk(self, choice: Mapping[str, Any]) -> Delta:
        index = choice.get("index")
        index = index if isinstance(index, int) else 0
        reason = choice.get("finish_reason")
        self._form = "chat" if "delta" in choice else "text"
        delta = choice.get("delta") or {"content": choice.get("text") or ""}
        if any(delta.get(name) for name in (*_JOINED, "tool_calls")):
            self._pieces += 1
        return Delta(index, delta, choice.get("logprobs"), reason if isinstance(reason, str) else None)

    def _token(self, document: Mapping[str, Any]) -> Delta:
        self._form = "token"
        token, details = document["token"], document.get("details") or {}
        self._pieces += 1
        special = token.get("special") is True
        text = "" if special or not isinstance(token.get("text"), str) else token["text"]
        reason = details.get("finish_reason") or document.get("finish_reason")
        if reason is None and document.get("generated_text") is not None:
            reason = "stop"
        self._output_tokens = _count(details.get("generated_tokens"), self._output_tokens)
        for name in ("input_length", "prompt_tokens"):
            self._input_tokens = _count(details.get(name), self._input_tokens)
        return Delta(0, {"content": text}, None, _TOKEN_REASONS.get(reason, reason) if reason else None)

    def _note_usage(self, usage: Any) -> None:
        if isinstance(usage, dict):
            told = reported_usage(usage)
            self._input_tokens = _count(told.input_tokens, self._input_tokens)
            self._output_tokens = _count(told.output_tokens, self._output_tokens)
            self._details |= {name: usage[name] for name in _DETAILS if isinstance(usage.get(name), dict)}


def _payload(line: bytes) -> str:
    """What a line says: the data of an event, or the line itself; empty for the fields around the data."""
    try:
        text = line.decode().strip()
    except UnicodeDecodeError as error:
        raise ModelFailedError("The model container sent something that is no text.", original_status=502) from error
    if text.startswith("data:"):
        return text[5:].strip()
    # https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    return "" if text.startswith((":", "event:", "id:", "retry:")) else text


def _is_complete(line: bytes) -> bool:
    try:
        text = _payload(line)
        return not text or text == _DONE or strict_json(text.encode()) is not None
    except (ValueError, ModelFailedError):
        return False


def _is_piece(choice: Any) -> bool:
    return isinstance(choice, dict) and "message" not in choice and ("delta" in choice or "text" in choice)


def _pieces_of(document: Any) -> Sequence[Delta]:
    """A whole answer as one piece for each choice; none where the dialect has to say what it is."""
    try:
        if isinstance(document, dict) and isinstance(document.get("choices"), list):
            flat = [
                {**(choice.get("message") or {"content": choice.get("text")}), **_ending(choice)}
                for choice in document["choices"]
            ]
            choices = choices_in({"choices": [{"text": entry.get("content"), **entry} for entry in flat]})
        else:
            choices = choices_in(document)
    except (ModelFailedError, AttributeError, TypeError):
        return ()
    return [
        Delta(index, _fields(choice), choice.logprobs, choice.finish_reason) for index, choice in enumerate(choices)
    ]


def _ending(choice: Mapping[str, Any]) -> dict[str, Any]:
    return {"finish_reason": choice.get("finish_reason"), "logprobs": choice.get("logprobs")}


def _fields(choice: Choice) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": "assistant", "content": choice.text or ""}
    if choice.reasoning:
        fields["reasoning_content"] = choice.reasoning
    if choice.refusal:
        fields["refusal"] = choice.refusal
    if choice.tool_calls:
        fields["tool_calls"] = [{**call, "index": index} for index, call in enumerate(choice.tool_calls)]
    return fields


def _merge_call(known: dict[str, Any], piece: Mapping[str, Any]) -> None:
    """A tool call comes in pieces, too: its arguments are a text that grows."""
    known |= {name: value for name, value in piece.items() if name not in {"index", "function"} and value}
    function = known.setdefault("function", {"name": "", "arguments": ""})
    given = piece.get("function") or {}
    function["name"] += given.get("name") or ""
    function["arguments"] += given.get("arguments") or ""


def _reported(document: Mapping[str, Any], secrets: Iterable[str]) -> ModelFailedError:
    from tollgate.domain.foreign_words import quoted  # noqa: PLC0415 -- few streams end with an error

    error = document.get("error")
    said = error.get("message") if isinstance(error, dict) else error or document.get("message")
    code = error.get("code") if isinstance(error, dict) else document.get("code")
    status = code if isinstance(code, int) and 400 <= code < 600 else 502
    return ModelFailedError(
        f"The model container reports an error: {quoted(str(said), secrets)}", original_status=status
    )


def _count(value: Any, known: int | None) -> int | None:
    told = count_of(value)
    return known if told is None else told
