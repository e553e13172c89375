"""Tokenizers from the bucket, run by Hugging Face's `tokenizers` where that library is there.

The library is 11 MB and few catalogues name a tokenizer, so it comes in a layer of its own and is imported for the
first request that needs it. See docs/trimming.md.
"""

import importlib
import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING

from tollgate.domain.errors import StorageError

if TYPE_CHECKING:
    from tollgate.domain.trimming import TokenCounter
    from tollgate.ports.objects import WholeObjectStore

_LIBRARY = "tokenizers"


def counter_of(file: str) -> "TokenCounter | None":
    """What counts tokens as a `tokenizer.json` says; None where it is not one or the library is not installed.

    Special tokens, padding and truncation are left out: a container adds the first by its template, and the others are
    settings for batches.
    """
    if importlib.util.find_spec(_LIBRARY) is None:
        return None
    library = importlib.import_module(_LIBRARY)
    try:
        tokenizer = library.Tokenizer.from_str(file)
    except Exception:  # noqa: BLE001 - the library raises nothing narrower for a file that it cannot read
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(text: str) -> int:
        clean = text.encode("utf-8", "replace").decode("utf-8")  # the library refuses unpaired surrogates
        return len(tokenizer.encode(clean, add_special_tokens=False).ids)

    return count


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
