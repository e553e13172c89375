"""What the exact key of a request of 10 KB costs, whatever its shape, beside the usual way in the same run.

The usual way is sorted JSON and SHA-256, which has no tenants, no volatile fields and no model version. The goal is
15 microseconds. Parameters and tools are the same in every request, as an application sends them; "unknown tools" are
new each time.

    python benchmarks/cache_key.py
"""

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import cycle, islice
from typing import Any

from tollgate.domain.cache.key import CacheIdentity, CacheScope, cache_key

BYTES = 10_000
ROUNDS, CALLS = 40, 200
_TEXT = 'It said: "the toll is due before the bridge".\n' * 300
_IDENTITY = CacheIdentity(CacheScope.private("tenant"), "chat.completions", "small@1", "policy")


def conversation(messages: int, *, room: int = BYTES) -> dict[str, Any]:
    """So many messages that are about `room` bytes together."""
    roles = [("user", "assistant")[number % 2] for number in range(messages)]
    text = _TEXT[: room // messages - 40]
    return {"model": "small", "temperature": 0, "messages": [{"role": role, "content": text} for role in roles]}


def tools(number: int, first: int = 0) -> list[dict[str, Any]]:
    """Functions of about 270 bytes each."""
    place = {"type": "string", "description": "Where the bridge is"}
    parameters = {"type": "object", "properties": {"place": place, "day": {"type": "string"}}, "required": ["place"]}
    return [
        {
            "type": "function",
            "function": {
                "name": f"toll_{index}",
                "description": "Says what a bridge costs on a day.",
                "parameters": parameters,
            },
        }
        for index in range(first, first + number)
    ]


def agent() -> dict[str, Any]:
    """Four turns of an agent that calls a tool in each."""
    text = _TEXT[:950]
    messages: list[dict[str, Any]] = [{"role": "system", "content": text}]
    for number in range(4):
        call = {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": "toll_1", "arguments": '{"place": "x"}'},
        }
        messages += [
            {"role": "user", "content": text},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"call_{number}", "content": text},
        ]
    return {"model": "small", "temperature": 0, "tools": tools(4), "messages": messages}


def usual_key(body: Mapping[str, Any]) -> str:
    """What most caches do."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def microseconds(key: Callable[[dict[str, Any]], str], bodies: Iterator[dict[str, Any]]) -> float:
    """CPU of one key."""
    given = list(islice(bodies, CALLS))
    started = time.process_time()
    for body in given:
        key(body)
    return (time.process_time() - started) / CALLS * 1e6


def parsed(*bodies: dict[str, Any]) -> list[dict[str, Any]]:
    """Bodies as they come out of a request, where no two values are one object."""
    return [json.loads(json.dumps(body)) for body in bodies]


def main() -> None:
    """Print a line for each shape."""
    parts = [{"type": "text", "text": _TEXT[: BYTES - 100]}]
    three = conversation(3, room=6_800)
    shapes = {
        **{f"{number} messages": [conversation(number)] for number in (1, 3, 12, 40)},
        "1 message, text in parts": [{"model": "small", "messages": [{"role": "user", "content": parts}]}],
        "3 messages, 3 tools": [conversation(3, room=9_200) | {"tools": tools(3)}],
        "3 messages, 12 tools": [three | {"tools": tools(12)}],
        "3 messages, 12 unknown tools": [three | {"tools": tools(12, first)} for first in range(CALLS)],
        "agent, 13 messages, 4 tools": [agent()],
    }
    print(f"{'exact key, CPU in us, best (median)':36} {'bytes':>7} {'key':>14} {'usual':>14} {'ratio':>6}")
    for name, bodies in shapes.items():
        given = cycle(parsed(*bodies))
        ours, usual = [], []
        for _ in range(ROUNDS):
            ours.append(microseconds(partial(cache_key, _IDENTITY), given))
            usual.append(microseconds(usual_key, given))
        print(
            f"{name:36} {len(json.dumps(bodies[0])):7,} {min(ours):6.1f} ({statistics.median(ours):5.1f}) "
            f"{min(usual):6.1f} ({statistics.median(usual):5.1f}) {min(ours) / min(usual):6.2f}"
        )


if __name__ == "__main__":
    main()
