"""Python values to DynamoDB's JSON and back.

| Python                        | DynamoDB | back as        |
|-------------------------------|----------|----------------|
| str                           | S        | str            |
| int, Decimal (38 digits)      | N        | Decimal        |
| bool                          | BOOL     | bool           |
| None                          | NULL     | None           |
| bytes                         | B        | bytes          |
| Mapping                       | M        | dict           |
| list, tuple                   | L        | list           |
| set of str / numbers / bytes  | SS NS BS | set            |

Numbers always come back as Decimal, never as int or float: a sum of money that happens to be whole must not
turn into another type. A float going in is refused because its digits are not what was written.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from decimal import Clamped, Context, Decimal, Inexact, Overflow, Rounded, Underflow
from typing import Any

# Limits of the number type: 38 significant digits, magnitude 1E-130 to 9.99...E+125.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
# Emin and Emax as in boto3's serializer, so that the same numbers are refused.
_CONTEXT = Context(Emin=-128, Emax=126, prec=38, traps=[Clamped, Overflow, Inexact, Rounded, Underflow])
_INT_LIMIT = 10**38
_MIN_EXPONENT = -130

type Attribute = dict[str, Any]


def _number(value: Decimal) -> str:
    if not value.is_finite():
        raise ValueError("DynamoDB has no NaN or infinity")
    try:
        number = _CONTEXT.create_decimal(value)
    except ArithmeticError as error:
        raise ValueError("more digits or a larger exponent than DynamoDB's number type can hold") from error
    if number and number.adjusted() < _MIN_EXPONENT:
        raise ValueError("nearer to zero than DynamoDB's number type can hold")
    return str(number)


def _integer(value: int) -> str:
    return str(value) if -_INT_LIMIT < value < _INT_LIMIT else _number(Decimal(value))


def _set(value: "set[Any] | frozenset[Any]") -> Attribute:
    if not value:
        raise ValueError("DynamoDB has no empty set")
    if all(isinstance(member, str) for member in value):
        return {"SS": [str(member) for member in value]}
    if all(isinstance(member, bytes) for member in value):
        return {"BS": [b64encode(member).decode() for member in value]}
    if all(isinstance(member, int | Decimal) and not isinstance(member, bool) for member in value):
        return {"NS": [_number(Decimal(member)) for member in value]}
    raise TypeError("a DynamoDB set holds only str, only numbers or only bytes")


def _refuse_float(_value: float) -> Attribute:
    raise TypeError("float is not exact: use Decimal or int")


_ENCODERS: dict[type, Callable[[Any], Attribute]] = {
    str: lambda value: {"S": value},
    bool: lambda value: {"BOOL": value},
    int: lambda value: {"N": _integer(value)},
    Decimal: lambda value: {"N": _number(value)},
    type(None): lambda _value: {"NULL": True},
    bytes: lambda value: {"B": b64encode(value).decode()},
    dict: lambda value: {"M": to_attributes(value)},
    list: lambda value: {"L": [to_attribute(member) for member in value]},
    tuple: lambda value: {"L": [to_attribute(member) for member in value]},
    set: _set,
    frozenset: _set,
    float: _refuse_float,
}
# For subclasses (StrEnum, IntEnum, named tuples, mapping proxies): bool before int.
_BY_BASE: tuple[tuple[type, Callable[[Any], Attribute]], ...] = (
    (str, lambda value: {"S": str.__str__(value)}),
    (int, lambda value: {"N": _integer(int(value))}),
    (float, _refuse_float),
    (Decimal, _ENCODERS[Decimal]),
    (bytes, _ENCODERS[bytes]),
    (Mapping, _ENCODERS[dict]),
    (tuple, _ENCODERS[tuple]),
    (list, _ENCODERS[list]),
    (frozenset, _set),
    (set, _set),
)


def to_attribute(value: Any) -> Attribute:
    """One value as DynamoDB JSON.

    Raises:
        TypeError: a type DynamoDB cannot hold exactly, float among them.
        ValueError: a number beyond 38 digits or the exponent range, NaN, infinity, or an empty set.
    """
    encode = _ENCODERS.get(type(value))
    if encode is not None:
        return encode(value)
    for base, encode_base in _BY_BASE:
        if isinstance(value, base):
            return encode_base(value)
    raise TypeError(f"DynamoDB cannot hold a {type(value).__name__}")


def to_attributes(item: Mapping[str, Any]) -> dict[str, Attribute]:
    """An item, key or set of expression values as DynamoDB JSON; raises as `to_attribute` does."""
    get = _ENCODERS.get
    attributes: dict[str, Attribute] = {}
    for name, value in item.items():
        encode = get(type(value))
        attributes[name] = to_attribute(value) if encode is None else encode(value)
    return attributes


def from_attribute(attribute: Mapping[str, Any]) -> Any:
    """The Python value of one attribute in DynamoDB JSON.

    Raises:
        ValueError: not an attribute of a known type.
    """
    for tag, value in attribute.items():
        decode = _DECODERS.get(tag)
        if decode is None:
            break
        return decode(value)
    raise ValueError(f"unknown DynamoDB attribute type: {sorted(attribute)}")


def from_attributes(item: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """An item in DynamoDB JSON as Python values; raises as `from_attribute` does."""
    return {name: from_attribute(attribute) for name, attribute in item.items()}


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "S": lambda value: value,
    "N": Decimal,
    "BOOL": lambda value: value,
    "NULL": lambda _value: None,
    "B": b64decode,
    "M": from_attributes,
    "L": lambda value: [from_attribute(member) for member in value],
    "SS": set,
    "NS": lambda value: {Decimal(member) for member in value},
    "BS": lambda value: {b64decode(member) for member in value},
}
