"""Receivers and secrets in memory."""

from collections.abc import Mapping, Sequence

from tollgate.domain.errors import WebhookError
from tollgate.domain.jobs.webhooks import WebhookUrl
from tollgate.ports.webhooks import WebhookAnswer


class ScriptedSender:
    """The `WebhookSender` of tests: gives one answer after the other, the last one for ever, and keeps the calls."""

    def __init__(self, *answers: WebhookAnswer | WebhookError) -> None:
        self._answers = list(answers) or [WebhookAnswer(200)]
        self.calls: list[tuple[WebhookUrl, Mapping[str, str], bytes]] = []

    def send(self, url: WebhookUrl, headers: Mapping[str, str], body: bytes) -> WebhookAnswer:
        self.calls.append((url, headers, body))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, WebhookError):
            raise answer
        return answer


class InMemoryWebhookSecrets:
    """The `WebhookSecrets` of tests."""

    def __init__(self) -> None:
        self._secrets: dict[str, tuple[str, ...]] = {}

    def of(self, tenant: str) -> Sequence[str]:
        return self._secrets.get(tenant, ())

    def store(self, tenant: str, secret: str, *, earlier: str | None = None) -> None:
        self._secrets[tenant] = (secret,) if earlier is None else (secret, earlier)

    def forget(self, tenant: str) -> None:
        self._secrets.pop(tenant, None)
