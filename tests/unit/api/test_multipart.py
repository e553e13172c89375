"""Forms with files in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.api.multipart import FormPart, read_form, without_boundary
from tollgate.domain.errors import InvalidRequestError


@given(content=st.binary(max_size=200), name=st.text(st.characters(min_codepoint=65, max_codepoint=122), min_size=1))
def test_a_forms_file_keeps_every_byte(content: bytes, name: str) -> None:
    """Line breaks, marks of other forms and bytes that are no text included."""
    clean = name.replace("\\", "")
    head = f'--b\r\nContent-Disposition: form-data; name="f"; filename="x{clean}"\r\n\r\n'.encode()
    found = read_form('multipart/form-data; boundary="b"', head + content.replace(b"--b", b"") + b"\r\n--b--")
    assert found["f"] == FormPart(content.replace(b"--b", b""), f"x{clean}")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"--b--"),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1'),
        ("multipart/form-data; boundary=b", b"--b\r\nX: y\r\n\r\n1\r\n--b--"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="a"\r\n--b--'),
    ],
)
def test_what_is_no_form_is_refused(kind: str, body: bytes) -> None:
    """Incomplete, nameless, or something else."""
    with pytest.raises(InvalidRequestError):
        read_form(kind, body)


@pytest.mark.parametrize("name", ["Prüfung.jsonl", "試験 1.jsonl", "a\u2028b"])
def test_a_files_name_is_utf_8(name: str) -> None:
    """As browsers and HTTP libraries send it."""
    body = f'--b\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\n\r\n1\r\n--b--'.encode()
    assert read_form("multipart/form-data; boundary=b", body)["f"].filename == name


@pytest.mark.parametrize(
    ("kind", "left"), [("multipart/form-data; boundary=b", b"--\r\na--"), ("text/plain", b"--b\r\na--b")]
)
def test_a_form_can_be_told_without_its_boundary(kind: str, left: bytes) -> None:
    """What is no form stays as it is."""
    assert without_boundary(kind, b"--b\r\na--b") == left


@pytest.mark.parametrize(
    "name", ["utf-7''%2b2AA-", "unicode_escape''%5cud800", "idna''%41%ff", "a%00b''c", "utf-8''%ed%a0%80"]
)
def test_a_head_may_name_any_codec(name: str) -> None:
    """What one of Python's makes of a name is refused where it is no text, and never a failure of the gateway's own."""
    head = f'--x\r\nContent-Disposition: form-data; name="file"; filename*={name}\r\n\r\na\r\n--x--\r\n'
    try:
        found = read_form("multipart/form-data; boundary=x", head.encode())["file"].filename
    except InvalidRequestError:
        found = ""
    assert (found or "").encode() is not None
    with pytest.raises(InvalidRequestError):
        read_form(f"multipart/form-data; boundary*={name}", head.encode())
