"""What an adapter for a provider paid by the token has to offer.

A call goes out through the ports that SageMaker's real-time endpoints have, `RealtimeBackend` and `StreamingBackend`;
the road has `tokens` and, as its `target`, the model's id. The dialect has set the limit of output in the body that
they get, and adds nothing that would cost more than the body's text and that limit say: no prompt-cache writes, no
server-side tools, no second try of a call that may have worked.

Calls are made by the functions gateway, streaming, cache and deferred. Jobs of such a deployment are run by `deferred`,
see `tollgate.services.jobs.run_token_job`; `async_submit` and the sweeper never call a provider.

Errors decide what is charged. An adapter raises

- `BackendThrottledError` for 429 and throttling: certainly not run, and the deployment counts as busy;
- `CapacityError` where the model is not ready or the service has no room (503): certainly not run;
- `ModelFailedError` with the provider's status for 4xx that blame the input, and for a 500 that says it failed: not
  charged by the provider;
- `BackendTimeoutError` where it may have run: no answer in time, 408, 502 or 504, a connection that broke after the
  request was sent, a stream that broke off;
- `BackendError` for what will always fail: no permission, no such model.
"""

from typing import Protocol

from tollgate.domain.catalogue import Road
from tollgate.ports.backends import RealtimeBackend
from tollgate.ports.streams import StreamForms, StreamingBackend


class TokenBackends(Protocol):
    """The adapters by provider; each is made when the first road asks for it."""

    def realtime(self, road: Road) -> RealtimeBackend:
        """What answers at once."""

    def streaming(self, road: Road) -> StreamingBackend:
        """What answers piece by piece."""

    def forms(self, road: Road) -> StreamForms:
        """How its streams are asked for and read."""
