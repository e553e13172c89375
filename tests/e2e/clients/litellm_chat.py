"""Chats, whole, streamed and with a tool, through LiteLLM's SDK. Arguments: base URL and key."""

import sys
from functools import partial

import litellm

TOOL = {"type": "function", "function": {"name": "toll", "parameters": {"type": "object", "properties": {}}}}


def main(url: str, key: str) -> None:
    """Print the answers, and the tokens of the first."""
    ask = partial(litellm.completion, model="openai/echo", api_base=url, api_key=key, service_tier="priority")
    answer = ask(messages=[{"role": "user", "content": "one two three"}])
    print(answer.choices[0].message.content)
    print(answer.usage.total_tokens)
    stream = ask(messages=[{"role": "user", "content": "four five six"}], stream=True)
    print("".join(chunk.choices[0].delta.content or "" for chunk in stream))
    print(ask(messages=[{"role": "user", "content": "seven eight"}], tools=[TOOL]).choices[0].message.content)


if __name__ == "__main__":
    main(*sys.argv[1:])
