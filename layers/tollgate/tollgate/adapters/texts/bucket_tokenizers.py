"""Tokenizers from the bucket, run by Hugging Face's `tokenizers` where that library is there.

The library is 11 MB and few catalogues name a tokenizer, so it comes in a layer of its own and is imported for the
first request that needs it. See docs/trimming.md.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tollgate.domain.errors import StorageError, TokenizerError

if TYPE_CHECKING:
    from tollgate.domain.trimming.terms import TokenCounter
    from tollgate.ports.objects import WholeObjectStore

_LIBRARY = "tokenizers"


def counter_of(file: str) -> "TokenCounter | None":
    """What counts tokens as a `tokenizer.json` says; None where it is not one or the library is not installed.

    It raises TokenizerError for a text that the library cannot take by that file.

    Special tokens, padding and truncation are left out: a container adds the first by its template, and the others are
    settings for batches.
    """
    if importlib.util.find_spec(_LIBRARY) is None:
        return None
    library = importlib.import_module(_LIBRARY)
    try:
        with _failures():
            tokenizer = library.Tokenizer.from_str(file)
            tokenizer.no_truncation()
            tokenizer.no_padding()
    except TokenizerError:
        return None

    def count(text: str) -> int:
        clean = text.encode("utf-8", "replace").decode("utf-8")  # the library refuses unpaired surrogates
        with _failures():
            return len(tokenizer.encode(clean, add_special_tokens=False).ids)

    return count


@contextmanager
def _failures() -> Iterator[None]:
    """Turns what the library raises into an error of ours: nothing narrower than `Exception`, and what panics in Rust.

    A panic is deliberately no `Exception`, so that it ends a program; here it would end the execution environment.
    https://docs.rs/pyo3/latest/pyo3/panic/struct.PanicException.html
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise TokenizerError("The model's tokenizer failed.") from error
        raise


class BucketTokenizers:
    """The `TokenizerSource` of AWS: each file is read once for an execution environment.

    A file that was not there is looked for again with the next request; so an upload needs no new deployment.
    """

    def __init__(
        self, objects: "WholeObjectStore", reader: Callable[[str], "TokenCounter | None"] = counter_of
    ) -> None:
        self._objects = objects
        self._reader = reader
        self._known: dict[str, TokenCounter | None] = {}

    def counter(self, name: str) -> "TokenCounter | None":
        """See `TokenizerSource`."""
        if name not in self._known:
            try:
                found = self._objects.get(name)
            except StorageError:
                return None  # An estimate is better than no answer.
            if found is None:
                return None
            self._known[name] = self._reader(found.decode("utf-8", "replace"))
        return self._known[name]
