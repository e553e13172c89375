"""A chat, whole and streamed, through LiteLLM's SDK. Arguments: base URL and key."""

import sys
from functools import partial

import litellm


def main(url: str, key: str) -> None:
    """Print both answers, and the tokens of the first."""
    ask = partial(litellm.completion, model="openai/echo", api_base=url, api_key=key, service_tier="priority")
    answer = ask(messages=[{"role": "user", "content": "one two three"}])
    print(answer.choices[0].message.content)
    print(answer.usage.total_tokens)
    stream = ask(messages=[{"role": "user", "content": "four five six"}], stream=True)
    print("".join(chunk.choices[0].delta.content or "" for chunk in stream))


if __name__ == "__main__":
    main(*sys.argv[1:])
