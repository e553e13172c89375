"""Ends a reservation: what was held becomes what was spent, exactly once, in all counters at the same time."""

from collections.abc import Callable, Sequence
from decimal import Decimal

from tollgate.domain.budgets.ledger import Ending, LedgerWrite, Reservation, next_ending, settlement
from tollgate.domain.errors import LedgerRefusedError, StorageError

_ROUNDS = 12
"""Each refusal moves at least one counter on, unless others race for what is left in it."""


def settle_with(
    reservation: Reservation, actual: Decimal, status: str, write: Callable[[Sequence[LedgerWrite]], bool]
) -> bool:
    """Settle in whichever way the counters allow.

    Args:
        reservation: as it was made.
        actual: dollars that the request cost.
        status: for the call's place in its workflow run.
        write: does the writes, alone or together with the end of a job.

    Returns:
        What the last `write` returned.

    Raises:
        StorageError: it is not settled; it may be tried again.
    """
    endings = [Ending.SETTLE] * len(reservation.holds)
    call = reservation.call
    calls = () if call is None else (call._replace(status=status, effective_cost=actual),)
    for _ in range(_ROUNDS):
        open_holds = [number for number, ending in enumerate(endings) if ending is not Ending.DONE]
        writes = [settlement(reservation, reservation.holds[n], actual, endings[n]) for n in open_holds]
        try:
            return write((*writes, *calls))
        except LedgerRefusedError as error:
            for position, counter in error.refused.items():
                number = open_holds[position]
                endings[number] = next_ending(endings[number], reservation, counter)
    raise StorageError("The ledger is busy. Try again.", retry_after=2)
