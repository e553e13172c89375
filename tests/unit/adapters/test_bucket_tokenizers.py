"""A model's own tokenizer, from the bucket."""

import json

import pytest

from tests.fakes.messages import InMemoryObjectStore
from tests.fakes.tokenizers import count_words
from tollgate.adapters.bucket_tokenizers import BucketTokenizers, counter_of
from tollgate.domain.errors import StorageError
from tollgate.domain.trimming import TokenCounter

KEY = "tokenizers/words.json"
WORDS = {
    "version": "1.0",
    "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "toll": 1, "gate": 2}, "unk_token": "[UNK]"},
    "pre_tokenizer": {"type": "Whitespace"},
    "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
}


class _Files:
    """Reads of files, one note each."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, file: str) -> TokenCounter:
        self.read.append(file)
        return count_words


class _DownStore(InMemoryObjectStore):
    """A bucket that does not answer."""

    def get(self, key: str) -> bytes | None:
        raise StorageError(f"no answer about {key}")


def test_a_file_is_read_once() -> None:
    """The second request for a tokenizer neither fetches nor parses it again."""
    objects, files = InMemoryObjectStore(), _Files()
    objects.put(KEY, b"first")
    source = BucketTokenizers(objects, files)
    first, second = source.counter(KEY), source.counter(KEY)
    assert first is second is count_words
    assert files.read == ["first"]


def test_a_file_that_comes_later_is_found() -> None:
    """An upload needs no new execution environment."""
    objects = InMemoryObjectStore()
    source = BucketTokenizers(objects, _Files())
    assert source.counter(KEY) is None
    objects.put(KEY, b"now")
    assert source.counter(KEY) is count_words


def test_a_bucket_that_is_down_fails_no_request() -> None:
    """There is no counter then, and the caller estimates."""
    assert BucketTokenizers(_DownStore(), _Files()).counter(KEY) is None


def test_the_library_counts_without_truncation() -> None:
    """Where the library is installed: every token counts, whatever the file says of batches; a broken file does not."""
    pytest.importorskip("tokenizers", reason="the library is in a layer of its own")
    count = counter_of(json.dumps(WORDS))
    assert count is not None
    assert count("toll gate toll gate") == 4
    assert count("toll \ud800 gate") >= 3
    assert counter_of("{}") is None
