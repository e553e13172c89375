"""One chat through LiteLLM's SDK. Arguments: base URL and key."""

import sys

import litellm


def main(url: str, key: str) -> None:
    """Print the answer and its tokens."""
    answer = litellm.completion(
        model="openai/echo",
        messages=[{"role": "user", "content": "one two three"}],
        api_base=url,
        api_key=key,
        service_tier="priority",
    )
    print(answer.choices[0].message.content)
    print(answer.usage.total_tokens)


if __name__ == "__main__":
    main(*sys.argv[1:])
