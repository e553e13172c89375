"""Forms with files, ``multipart/form-data``.

https://www.rfc-editor.org/rfc/rfc7578
"""

from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser

from tollgate.domain.errors import InvalidRequestError

_MOST_PARTS = 20
_HEAD_BYTES = 8_192
"""Of one field: name and type of a file. The parser's time grows with the square of their length."""


@dataclass(frozen=True, slots=True)
class FormPart:
    """One field; `filename` is set where it is a file."""

    content: bytes
    filename: str | None = None

    @property
    def text(self) -> str:
        """The field as text.

        Raises:
            InvalidRequestError: it is not UTF-8.
        """
        try:
            return self.content.decode()
        except UnicodeDecodeError as error:
            raise InvalidRequestError("A field of the form is not UTF-8.") from error


def read_form(content_type: str, body: bytes) -> Mapping[str, FormPart]:
    """The fields of a form by name; of several with the same name the last one.

    Raises:
        InvalidRequestError: it is not such a form.
    """
    boundary = _boundary(content_type)
    if not boundary:
        raise InvalidRequestError("Send the file as multipart/form-data.")
    mark = b"\r\n--" + boundary
    # The first mark has no line before it; what stands before it and after the last one is no part.
    before, *parts = (b"\r\n" + body).split(mark, _MOST_PARTS + 1)
    if not parts or not parts[-1].startswith(b"--") or before.strip():
        raise InvalidRequestError(f"The form is incomplete, or has over {_MOST_PARTS} fields.")
    fields: dict[str, FormPart] = {}
    for part in parts[:-1]:
        name, field = _part(part)
        fields[name] = field
    return fields


def without_boundary(content_type: str, body: bytes) -> bytes:
    """A form but for its boundary, which clients make up anew each time that they send it; any other body as it is."""
    boundary = _boundary(content_type)
    return body.replace(b"--" + boundary, b"--") if boundary else body


def _boundary(content_type: str) -> bytes:
    """Of a form; empty where it is none."""
    header = Message()
    # What is not ASCII arrives as half of surrogate pairs, which the parser cannot write.
    header["content-type"] = content_type.encode("ascii", "replace").decode()
    if header.get_content_type() != "multipart/form-data":
        return b""
    try:
        return (header.get_boundary() or "").encode("ascii", "replace")
    except ValueError:
        return b""  # RFC 2231 lets a header name any codec of Python's, also one that fails.


def _part(part: bytes) -> tuple[str, FormPart]:
    # Spaces may follow the mark on its line.
    _, _, rest = part.partition(b"\r\n")
    head, gap, content = rest.partition(b"\r\n\r\n")
    if len(head) > _HEAD_BYTES:
        raise InvalidRequestError(f"The head of a field of the form has over {_HEAD_BYTES} bytes.")
    # Names are UTF-8: https://www.rfc-editor.org/rfc/rfc7578#section-5.1
    said = HeaderParser().parsestr(head.decode(errors="replace") + "\r\n\r\n")
    try:
        name, filename = said.get_param("name", header="content-disposition"), said.get_filename()
        (filename or "").encode()
    except ValueError as error:
        # As with boundaries; some codecs make halves of surrogate pairs, which nothing can store.
        raise InvalidRequestError("A name in the head of a field of the form cannot be read; use UTF-8.") from error
    if not gap or not isinstance(name, str) or not name:
        raise InvalidRequestError("A field of the form has no name.")
    return name, FormPart(content, filename)
