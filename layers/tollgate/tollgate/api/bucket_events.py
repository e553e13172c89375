"""What the bucket tells through its topic.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_plus

from pydantic_core import SchemaValidator
from pydantic_core import core_schema as rules

from tollgate.api.fields import optional, required
from tollgate.domain.errors import InvalidRequestError

_TEXT = rules.str_schema()
_TEST = "s3:TestEvent"
"""What S3 publishes when it is told of the topic, to see whether it may.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/how-to-enable-disable-notification-intro.html
"""
_BUCKET = rules.typed_dict_schema({"name": required(_TEXT)})
_OBJECT = rules.typed_dict_schema(
    {
        "key": required(_TEXT),
        "versionId": optional(_TEXT),
        "sequencer": optional(_TEXT),
        "eTag": optional(_TEXT),
    }
)
_ENTITY = rules.typed_dict_schema({"bucket": required(_BUCKET), "object": required(_OBJECT)})
_RECORD = rules.typed_dict_schema({"s3": required(_ENTITY)})
_NOTICE = SchemaValidator(rules.typed_dict_schema({"Records": required(rules.list_schema(_RECORD))}))


def created_objects(event: Mapping[str, Any], bucket: str) -> Iterator[tuple[str, str]]:
    """Keys in this bucket, each with what tells this writing of it from others; equal in a doubled event.

    The topic lets every bucket of the account in, so what another one tells is passed over.

    Raises:
        ValidationError: the event is not what S3 sends.
        InvalidRequestError: it does not tell one writing from another.
    """
    for outer in event["Records"]:
        message = json.loads(outer["Sns"]["Message"])
        if isinstance(message, dict) and message.get("Event") == _TEST:
            continue
        for record in _NOTICE.validate_python(message)["Records"]:
            if record["s3"]["bucket"]["name"] != bucket:
                continue
            found = record["s3"]["object"]
            version = found.get("versionId") or found.get("sequencer") or found.get("eTag")
            if not version:
                raise InvalidRequestError("The event has neither version nor sequencer nor etag.")
            yield unquote_plus(found["key"]), version
