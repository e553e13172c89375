"""Places before a variant."""

import asyncio
from collections.abc import Awaitable

import pytest

from local.sagemaker.gate import Gate, SaturatedError


def run(coroutine: Awaitable[None]) -> None:
    async def inside() -> None:
        async with asyncio.timeout(60):
            await coroutine

    asyncio.run(inside())


def test_no_more_are_inside_than_there_are_places() -> None:
    """Fifty callers of three places are never more than three inside, and all get in."""

    async def check() -> None:
        gate, inside, most, served = Gate(3, 100), 0, 0, 0

        async def caller() -> None:
            nonlocal inside, most, served
            await gate.enter()
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1
            served += 1
            gate.leave()

        await asyncio.gather(*(caller() for _ in range(50)))
        assert (most, served, gate.busy, gate.waiting) == (3, 50, 0, 0)

    run(check())


def test_the_queue_has_an_end() -> None:
    """With every place taken and the queue full, the next caller is turned away."""

    async def check() -> None:
        gate = Gate(1, 1)
        await gate.enter()
        waiting = asyncio.ensure_future(gate.enter())
        await asyncio.sleep(0)
        with pytest.raises(SaturatedError):
            await gate.enter()
        gate.leave()
        await waiting
        assert gate.busy == 1

    run(check())


def test_new_places_let_the_waiting_in() -> None:
    """Growing from zero admits as many as there are places, in order; shrinking turns nobody out."""

    async def check() -> None:
        gate, order = Gate(0, 10), []

        async def caller(number: int) -> None:
            await gate.enter()
            order.append(number)

        callers = [asyncio.ensure_future(caller(number)) for number in range(3)]
        await asyncio.sleep(0)
        assert order == []
        gate.resize(2)
        await asyncio.sleep(0)
        assert order == [0, 1]
        gate.resize(1)
        assert (gate.busy, gate.free) == (2, 0)
        gate.leave()
        gate.leave()
        await asyncio.gather(*callers)
        assert order == [0, 1, 2]

    run(check())


def test_a_caller_that_gives_up_frees_its_turn() -> None:
    """A cancelled caller takes no place, even when it is cancelled in the moment it is let in."""

    async def check() -> None:
        gate = Gate(1, 10)
        await gate.enter()
        gone = asyncio.ensure_future(gate.enter())
        late = asyncio.ensure_future(gate.enter())
        await asyncio.sleep(0)
        gate.leave()  # lets `gone` in, which is cancelled before it runs
        gone.cancel()
        await late
        assert gone.cancelled()
        assert (gate.busy, gate.waiting) == (1, 0)

    run(check())
