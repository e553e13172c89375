"""Bodies of the routes over files and batches.

https://platform.openai.com/docs/api-reference/batch/create
https://platform.openai.com/docs/api-reference/uploads/create
"""

from pydantic_core import core_schema as rules

from tollgate.api.fields import optional, required
from tollgate.api.openai.reading import DocumentReader, open_object
from tollgate.domain.errors import InvalidRequestError
from tollgate.services.batches.uploads import MOST_PARTS

_SHORT = rules.str_schema(min_length=1, max_length=512)
_ID = rules.str_schema(min_length=1, max_length=64)

_EXPIRES_AFTER = open_object(
    "ExpiresAfter",
    {
        "anchor": required(rules.literal_schema(["created_at"])),
        "seconds": required(rules.int_schema(ge=3_600, le=2_592_000)),
    },
)

CREATE_BATCH = DocumentReader(
    "BatchRequest",
    {
        "input_file_id": required(_ID),
        "endpoint": required(_SHORT),
        "completion_window": required(_SHORT),
        "output_expires_after": optional(_EXPIRES_AFTER),
        "metadata": optional(
            rules.dict_schema(
                rules.str_schema(max_length=64), rules.str_schema(max_length=512), max_length=16, fail_fast=True
            )
        ),
    },
)

CREATE_UPLOAD = DocumentReader(
    "UploadRequest",
    {
        "filename": required(_SHORT),
        "purpose": required(_SHORT),
        "bytes": required(rules.int_schema(ge=1, le=2**53)),
        "mime_type": required(_SHORT),
        "expires_after": optional(_EXPIRES_AFTER),
    },
)

COMPLETE_UPLOAD = DocumentReader(
    "UploadCompletionRequest",
    {
        # None where the file was PUT to the upload's URL.
        "part_ids": required(rules.list_schema(_ID, max_length=MOST_PARTS)),
        "md5": optional(rules.str_schema(pattern="^[0-9a-fA-F]{32}$")),
    },
)


def expiry_seconds(text: str | None, anchor: str | None) -> int | None:
    """Seconds from the two fields of a form, ``expires_after[seconds]`` and ``expires_after[anchor]``.

    Raises:
        InvalidRequestError: one of them is wrong or missing.
    """
    if text is None and anchor is None:
        return None
    digits = text is not None and text.isascii() and text.isdigit() and len(text) < 9
    seconds = int(text) if digits and text is not None else 0
    if anchor != "created_at" or not 3_600 <= seconds <= 2_592_000:
        raise InvalidRequestError(
            "'expires_after' needs the anchor 'created_at' and 3600 to 2592000 seconds.", param="expires_after"
        )
    return seconds
