"""Every route of the API with everything behind it in memory: for what must hold on each of them."""

from collections.abc import Callable, Mapping
from copy import replace
from datetime import timedelta
from typing import Any

from tests.fakes.clock import CountingIds
from tests.fakes.examples import make_catalogue
from tests.fakes.files import InMemoryFileBatchStore, InMemoryFileStore
from tests.fakes.gateway import FakeGateway, InMemoryIdempotency, proxy_event
from tests.fakes.retrieval import InMemoryRetrieval
from tests.fakes.usage import InMemoryUsage
from tollgate.api.cache_routes import CacheApi
from tollgate.api.files_routes import FilesApi
from tollgate.api.http import Answer, Call, read_call
from tollgate.api.jobs_routes import JobsApi
from tollgate.api.telemetry import Telemetry
from tollgate.api.usage_routes import UsageApi
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.catalogue import Catalogue
from tollgate.services.batches.file_batches import FileBatches
from tollgate.services.batches.files import Files
from tollgate.services.batches.uploads import Uploads
from tollgate.services.budgets.queries import BudgetQueries
from tollgate.services.cache.manage import CacheManager
from tollgate.services.jobs.queries import JobQueries
from tollgate.services.requests.idempotency import Idempotency
from tollgate.services.usage.queries import UsageQueries


def cached_catalogue() -> Catalogue:
    """The example catalogue, whose model keeps its answers."""
    catalogue = make_catalogue()
    return replace(catalogue, models={"echo": replace(catalogue.models["echo"], cache=CachePolicy())})


class WholeApi:
    """All the API's functions over the same stores."""

    def __init__(self) -> None:
        gateway = self.gateway = FakeGateway(catalogue=cached_catalogue())
        lines = Telemetry(namespace="Tollgate", service="tollgate", write=lambda _: None)
        clock, ids = gateway.clock, CountingIds()
        self.file_store, self.batches = InMemoryFileStore(), InMemoryFileBatchStore()
        files = Files(files=self.file_store, objects=gateway.objects, clock=clock, ids=ids, kept=timedelta(days=30))
        uploads = Uploads(
            store=self.file_store,
            files=files,
            objects=gateway.objects,
            chunked=lambda: gateway.objects,
            clock=clock,
            ids=ids,
        )
        batches = FileBatches(
            batches=self.batches, files=files, queue=gateway.batch_queue, telemetry=lines, clock=clock, ids=ids
        )
        idempotency = Idempotency(InMemoryIdempotency(), clock)
        manager = CacheManager(
            answers=gateway.answers,
            values=InMemoryRetrieval(),
            catalogues=gateway.catalogues,
            admission=gateway.admission,
            clock=clock,
            ids=ids,
            near=gateway.near_index,
            telemetry=lines,
        )
        budgets = BudgetQueries(catalogues=gateway.catalogues, ledger=gateway.ledger, clock=clock)
        jobs = JobQueries(jobs=gateway.jobs, objects=gateway.objects, clock=clock)
        usage = UsageApi(queries=budgets, usage=UsageQueries(store=InMemoryUsage(), clock=clock), telemetry=lines)
        cache = CacheApi(inference=gateway.inference, manager=manager, telemetry=lines, clock=clock)
        self._by_path: Mapping[str, Callable[[Call], Answer]] = {
            "/v1/files": FilesApi(
                files=files,
                uploads=uploads,
                batches=batches,
                idempotency=idempotency,
                telemetry=lines,
                random_hex=lambda: "a" * 48,
            ).respond,
            "/v1/cache": cache.respond,
            "/v1/inferences/": JobsApi(queries=jobs, telemetry=lines).respond,
            "/v1/usage": usage.respond,
        }

    def call(
        self, route: str, body: str | None = None, *, changes: Mapping[str, Any] | None = None, **options: Any
    ) -> Answer:
        """Send a call to the function that has the route.

        Args:
            route: method and resource.
            body: any text.
            changes: of the event that API Gateway would send.
            options: as `proxy_event` has them.
        """
        event = proxy_event(route, body, **options) | dict(changes or {})
        return self._respond(route)(read_call(event))

    def _respond(self, route: str) -> Callable[[Call], Answer]:
        path = route.partition(" ")[2]
        if path.startswith(("/v1/files", "/v1/uploads", "/v1/batches")):
            return self._by_path["/v1/files"]
        if path.startswith("/v1/cache"):
            return self._by_path["/v1/cache"]
        if path in {"/v1/budgets", "/v1/usage", "/v1/workflows/{id}", "/v1/control", "/v1/recommendations"}:
            return self._by_path["/v1/usage"]
        if path.startswith(("/v1/inferences/", "/v1/responses/")) or route == "GET /v1/inferences":
            return self._by_path["/v1/inferences/"]
        return self.gateway.api.respond
