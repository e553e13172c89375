"""The right to store an answer under a key; travels with a job."""

from typing import NamedTuple


class CacheTicket(NamedTuple):
    """What a runner needs in order to store its answer. Times are as in `cache.entry`.

    Attributes:
        key: of the entry.
        fence: of the lease; a later lease invalidates it; 0 stands for a run without a lease.
        ttl_seconds: how long the answer will be fresh.
        kept_seconds: how long it stays after that.
        began_ms: when the run began.
        scope: whose entry it is, see `cache.identity.scope_name`.
        namespace: that the request named.
        reads: whether an existing answer will do, for a job that has not begun.
        context, prompt: of a job whose answer differently worded questions may find, see `cache.key.near_context`;
            otherwise empty.
    """

    key: str
    fence: int
    ttl_seconds: int
    kept_seconds: int
    began_ms: int
    scope: str
    namespace: str = ""
    reads: bool = True
    context: str = ""
    prompt: str = ""
