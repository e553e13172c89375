"""A model's own tokenizer, from the bucket."""

import json
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest

from tests.fakes.messages import InMemoryObjectStore
from tests.fakes.tokenizers import count_words
from tollgate.adapters.texts.bucket_tokenizers import BucketTokenizers, counter_of
from tollgate.domain.errors import StorageError, TokenizerError
from tollgate.domain.trimming.terms import TokenCounter

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


PanicException = type("PanicException", (BaseException,), {"__doc__": "What Rust's panics are in Python."})


class _Library(ModuleType):
    """The library, failing as told: when it reads a file or when it counts."""

    def __init__(self, *, read: BaseException | None = None, encode: BaseException | None = None) -> None:
        super().__init__("tokenizers")
        self.__spec__ = ModuleSpec("tokenizers", None)
        self._fails = {"read": read, "encode": encode}
        self.Tokenizer = self

    def _maybe(self, what: str) -> None:
        error = self._fails[what]
        if error is not None:
            raise error

    def from_str(self, _file: str) -> "_Library":
        self._maybe("read")
        return self

    def no_truncation(self) -> None:
        """Nothing is cut."""

    def no_padding(self) -> None:
        """Nothing is filled up."""

    def encode(self, _text: str, *, add_special_tokens: bool) -> Any:
        assert not add_special_tokens
        self._maybe("encode")


@pytest.mark.parametrize("error", [Exception("bad file"), PanicException("slice index")])
def test_a_library_that_fails_or_panics_fails_no_function(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that it cannot read is no tokenizer; a text that it cannot count is an error that the service expects."""
    monkeypatch.setitem(sys.modules, "tokenizers", _Library(read=error))
    assert counter_of("{}") is None
    monkeypatch.setitem(sys.modules, "tokenizers", _Library(encode=error))
    count = counter_of("{}")
    assert count is not None
    with pytest.raises(TokenizerError):
        count("toll")


def test_what_ends_the_program_still_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the library's own failures are held back."""
    monkeypatch.setitem(sys.modules, "tokenizers", _Library(read=KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        counter_of("{}")
