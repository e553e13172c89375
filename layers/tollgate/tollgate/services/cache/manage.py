"""What a caller may do with the cache itself: look, forget, and keep results of its own."""

from collections.abc import Callable, Iterable
from decimal import Decimal

from tollgate.domain.budgets.reserving import Ask
from tollgate.domain.cache.entry import epoch_ms
from tollgate.domain.cache.retrieval import (
    DEFAULT_TTL_SECONDS,
    VALUE_BYTES,
    KeptValue,
    check_name,
    check_namespace,
)
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.gateway_parts import gateway_rates
from tollgate.domain.errors import (
    BodyTooLargeError,
    NoCatalogueError,
    NotFoundError,
    OutcomeUnknownError,
    ScopeError,
    StorageError,
)
from tollgate.domain.jobs.job import Owner
from tollgate.domain.json_values import json_text
from tollgate.domain.money import ZERO
from tollgate.domain.near.record import entry_id
from tollgate.domain.records import KEPT_MARK, RequestRecord
from tollgate.ports.cache import AnswerStore
from tollgate.ports.near import NearStore
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.retrieval import RetrievalStore
from tollgate.ports.system import Clock, IdSource, Telemetry
from tollgate.services.requests.admission import Admission


class CacheManager:
    """Forgets cached answers, and keeps clients' own values, which `admission` has them pay for.

    `near` has the prompts behind the answers.
    """

    def __init__(
        self,
        *,
        answers: AnswerStore,
        values: RetrievalStore,
        catalogues: CatalogueSource,
        admission: Admission,
        clock: Clock,
        ids: IdSource,
        near: NearStore,
        telemetry: Telemetry,
    ) -> None:
        self._answers = answers
        self._values = values
        self._catalogues = catalogues
        self._admission = admission
        self._clock = clock
        self._ids = ids
        self._near = near
        self._telemetry = telemetry

    def forget_entry(self, owner: Owner, key: str) -> None:
        """Forget one entry of the caller's own tenant, at once.

        Raises:
            NotFoundError: the tenant has no such entry.
            StorageError
        """
        if len(key) != 64 or not self._answers.forget(key, f"private#{owner.tenant}", epoch_ms(self._clock.now())):
            raise NotFoundError("There is no such entry.", param="key")
        # It points to nothing now; but the prompt is the tenant's, and is not left lying about.
        self._near.drop(entry_id(key))

    def forget_model(self, owner: Owner, model: str) -> None:
        """Forget the tenant's own answers of a model; runs under way are not kept either.

        Raises:
            UnknownModelError: no answer of it could be found, and every name that is noted takes room.
            StorageError
        """
        self._catalogues.current().model(model)
        self._answers.forget_all(f"private#{owner.tenant}", f"model#{model}", epoch_ms(self._clock.now()))

    def forget_namespace(self, owner: Owner, namespace: str) -> None:
        """Forget a namespace; one that tenants share only with the scope `admin`.

        Raises:
            InvalidRequestError: no request could name it.
            ScopeError: the namespace is shared.
            StorageError
        """
        check_namespace(namespace)
        if namespace in self._shared():
            if "admin" not in owner.scopes:
                raise ScopeError(f"The namespace '{namespace}' is shared; forgetting it needs the scope 'admin'.")
            self._answers.forget_all(f"shared#{namespace}", f"namespace#{namespace}", epoch_ms(self._clock.now()))
        self._answers.forget_all(f"private#{owner.tenant}", f"namespace#{namespace}", epoch_ms(self._clock.now()))

    def forget_all(self, owner: Owner) -> None:
        """Forget all of the tenant's own answers."""
        self._answers.forget_all(f"private#{owner.tenant}", "all", epoch_ms(self._clock.now()))

    def keep(
        self, owner: Owner, namespace: str, key: str, value: object, ttl_seconds: int | None, *, request_id: str
    ) -> tuple[KeptValue, Decimal | None]:
        """Keep a value for the tenant; returns it with what that cost in dollars, None before there is a catalogue.

        Raises:
            InvalidRequestError: a name is wrong.
            BodyTooLargeError, BudgetExceededError
            CatalogueError, StorageError
        """
        check_name(namespace, key)
        ttl = DEFAULT_TTL_SECONDS if ttl_seconds is None else ttl_seconds
        size = len(json_text(value).encode())
        if size > VALUE_BYTES:
            raise BodyTooLargeError(f"The value has {size} bytes as JSON; the limit is {VALUE_BYTES}.", param="value")
        now = epoch_ms(self._clock.now())
        kept = KeptValue(value, now, now + ttl * 1000)
        cost = self._charged(owner, size, request_id, lambda: self._values.put(owner.tenant, namespace, key, kept))
        return kept, cost

    def _charged(self, owner: Owner, size: int, request_id: str, put: Callable[[], None]) -> Decimal | None:
        """Write so many bytes, paid for by the owner's budgets: the call, and a unit for each KB before compression."""
        try:
            catalogue = self._catalogues.current()
        except NoCatalogueError:
            put()  # Prices and budgets come with a catalogue.
            return None
        rates = gateway_rates(catalogue.gateway_prices)
        amount = rates.expected(InferenceType.REALTIME, size, 0.0) + rates.table_write_unit * (1 + size // 1_024)
        admitted, held = self._admission.admit_write(catalogue, owner), None
        if admitted is not None:
            held = self._admission.reserve(admitted, (Ask(amount),), inference_id=self._ids.new("kept"))
        spent, status = amount, "completed"
        try:
            put()
        except StorageError as error:
            status = "failed"
            spent = amount if isinstance(error, OutcomeUnknownError) else ZERO
            raise
        finally:
            if held is not None:
                self._admission.settle(held, spent, status)
            if spent:
                self._record(owner, request_id, spent, status)
        return spent

    def _record(self, owner: Owner, request_id: str, spent: Decimal, status: str) -> None:
        """Leave the line that usage is computed from: no request, but what it cost is the owner's."""
        self._telemetry.request(
            RequestRecord(
                request_id=f"{request_id}{KEPT_MARK}",
                owner=owner,
                inference_type=InferenceType.REALTIME,
                resource="",
                outcome=status,
                latency_seconds=0.0,
                effective_cost=spent,
                charged_cost=spent,
            )
        )

    def kept(self, owner: Owner, namespace: str, key: str) -> KeptValue:
        """The tenant's value.

        Raises:
            NotFoundError: there is none, or its time is over.
            StorageError
        """
        check_name(namespace, key)
        found = self._values.get(owner.tenant, namespace, key)
        if found is None or found.expires_ms <= epoch_ms(self._clock.now()):
            raise NotFoundError("There is no such value.", param="key")
        return found

    def drop(self, owner: Owner, namespace: str, key: str) -> None:
        """Forget the tenant's value.

        Raises:
            InvalidRequestError, StorageError
        """
        check_name(namespace, key)
        self._values.delete(owner.tenant, namespace, key)

    def age_seconds(self, value: KeptValue) -> int:
        """Whole seconds since the value was kept."""
        return max(0, (epoch_ms(self._clock.now()) - value.made_ms) // 1000)

    def _shared(self) -> Iterable[str]:
        models = self._catalogues.current().models.values()
        return {name for model in models if model.cache is not None for name in model.cache.shared_namespaces}
