"""Chats, whole, streamed and with a tool, and one embedding through LangChain. Arguments: base URL and key."""

import sys

from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

TOOL = {"type": "function", "function": {"name": "toll", "parameters": {"type": "object", "properties": {}}}}


def main(url: str, key: str) -> None:
    """Print the answers, and the length of a vector."""
    chat = ChatOpenAI(base_url=url, api_key=SecretStr(key), model="echo", service_tier="priority")
    print(chat.invoke("one two three").content)
    embeddings = OpenAIEmbeddings(
        base_url=url, api_key=SecretStr(key), model="minilm", check_embedding_ctx_length=False
    )
    print(len(embeddings.embed_query("a toll booth")))
    print("".join(str(chunk.content) for chunk in chat.stream("four five six")))
    print(chat.bind_tools([TOOL]).invoke("seven eight").content)


if __name__ == "__main__":
    main(*sys.argv[1:])
