"""Which of AWS's operations a function of the stack may call, read from its code.

From `app.py` on, what a reachable body names is reachable too: functions and classes by their imports, methods by their
name on every class that is made on the way (rapid type analysis). Where annotations tell what an object is, only what
fits is followed. So the answer holds every call that the function can make and, where types are unknown, some more.
"""

import ast
import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache

import botocore.session
from botocore import xform_name

from tests.unit.product_code import ALIEN, CONTAINER, CONTAINERS, Class, Function, Module, Types, code_of, module

TABLE_OPERATIONS = {
    "get_item": ("GetItem",),
    "put_item": ("PutItem",),
    "put_next": ("PutItem",),
    "update_item": ("UpdateItem",),
    "delete_item": ("DeleteItem",),
    "query": ("Query",),
    "query_all": ("Query",),
    "batch_get_item": ("BatchGetItem",),
    "transact_write_items": (),
    "TransactPut": ("PutItem",),
    "TransactUpdate": ("UpdateItem",),
}
"""What IAM asks for, by method of `DynamoDBClient` or by action of a transaction."""

SERVICES = (
    *("s3", "sqs", "sns", "ssm", "lambda", "sagemaker", "sagemaker-runtime", "bedrock-runtime"),
    *("application-autoscaling", "cloudwatch", "logs", "pricing", "ce"),
)


@cache
def _operations() -> dict[str, tuple[str, str]]:
    """Service and operation by its name in boto3 and by its own."""
    found: dict[str, tuple[str, str]] = {}
    session = botocore.session.get_session()
    # boto3's own way of putting an object, in parts if it is large.
    found["upload_fileobj"] = ("s3", "upload_fileobj")
    for service in SERVICES:
        for operation in session.get_service_model(service).operation_names:
            found[xform_name(operation)] = found[operation] = (service, operation)
    return found


_DISPLAYS = ast.Dict | ast.List | ast.Set | ast.Tuple | ast.DictComp | ast.ListComp | ast.SetComp | ast.GeneratorExp
_DEEPEST = 5
"""Names that are followed from one to the next; a loop may give a name to itself."""


@dataclass(frozen=True)
class TableCall:
    """An operation on a table; `index` is the one that a query reads."""

    action: str
    table: str
    index: str = ""


@dataclass
class Reach:
    """What can run of the product once a function's `app.py` is imported and its handler called.

    `places` are the functions and methods that can, by module, class and name.
    """

    made: set[Class] = field(default_factory=set)
    tables: dict[Class, set[str]] = field(default_factory=lambda: defaultdict(set))
    operations: dict[tuple[str, str], "_Body | None"] = field(default_factory=dict)
    places: set[str] = field(default_factory=set)
    _bodies: set[tuple[ast.AST, Class | None]] = field(default_factory=set)
    _named: dict[str, dict[Types | None, "_Body | None"]] = field(default_factory=lambda: defaultdict(dict))
    _table_calls: dict[tuple[str, Class, str, str], "_Body | None"] = field(default_factory=dict)
    _lent: set[tuple[Class, Class]] = field(default_factory=set)
    _waiting: list["_Body"] = field(default_factory=list)
    _current: "_Body | None" = None

    @classmethod
    @cache
    def of(cls, folder: str) -> "Reach":
        """That of the function in this folder."""
        reach = cls()
        app = module(f"functions.{folder}.app")
        assert app is not None
        reach.enter_module(app)
        reach.run()
        return reach

    def ways(self) -> dict[tuple[str, str], str]:
        """Service and operation of every call but those to tables, with the way to it."""
        return {operation: body.way() for operation, body in self.operations.items() if body}

    def table_calls(self) -> dict[TableCall, str]:
        """What is done with which table, and the way there."""
        found: dict[TableCall, str] = {}
        for (action, owner, index, _), body in self._table_calls.items():
            found |= {TableCall(action, table, index): body.way() if body else "" for table in self._tables_of(owner)}
        return found

    def table_places(self) -> set[tuple[str, str, str]]:
        """Every call to a table that is no query of an index: its action, the table, and the method that makes it."""
        return {
            (action, table, f"{owner.node.name}.{name}")
            for action, owner, index, name in self._table_calls
            if not index
            for table in self._tables_of(owner)
        }

    def _tables_of(self, owner: Class) -> set[str]:
        users = [kind for kind in self.made if owner in kind.line]
        tables = {table for kind in users for table in self.tables[kind]}
        assert tables or not users, f"which table does {owner.node.name} use?"
        return tables

    def run(self) -> None:
        """Follow everything until nothing new is found."""
        while self._waiting:
            self._current = self._waiting.pop()
            self._current.follow(self)
        changed = True
        while changed:
            changed = False
            for giver, taker in self._lent:
                lent = {table for kind in self.made if giver in kind.line for table in self.tables[kind]}
                changed = changed or not lent <= self.tables[taker]
                self.tables[taker] |= lent

    def enter_module(self, app: Module) -> None:
        """All functions of a module run."""
        for node in app.tree.body:
            if isinstance(node, ast.FunctionDef):
                self.call(Function(app, node))

    def call(self, function: Function) -> None:
        """A function or method runs."""
        self._enter(function.module, function.module.tree)
        self._enter(function.module, function.node, function.owner, function)

    def _enter(
        self, module_: Module, node: ast.AST, owner: Class | None = None, function: Function | None = None
    ) -> None:
        if (node, owner) not in self._bodies:
            self._bodies.add((node, owner))
            body = _Body(module_, node, owner, function, self._current)
            self.places.add(body.place)
            self._waiting.append(body)

    def make(self, kind: Class) -> None:
        """Objects of a class are made."""
        if kind in self.made:
            return
        self.made.add(kind)
        for owner in kind.line:
            self._enter(owner.module, owner.module.tree)
            self._enter(owner.module, owner.node, owner)
        for name, methods in kind.methods.items():
            askers = [asker for types, asker in self._named.get(name, {}).items() if kind.may_be(types)]
            if askers or name.startswith("__"):
                now, self._current = self._current, (askers or [self._current])[0]
                for method in methods:
                    self.call(method)
                self._current = now

    def name_attribute(self, name: str, types: Types | None) -> None:
        """Something of these types is asked for an attribute; a method is taken as called."""
        if types in self._named[name]:
            return
        self._named[name][types] = self._current
        for kind in tuple(self.made):
            if kind.may_be(types):
                for method in kind.methods.get(name, ()):
                    self.call(method)

    def use(self, operation: tuple[str, str]) -> None:
        """An adapter calls AWS."""
        self.operations.setdefault(operation, self._current)

    def use_table(self, actions: tuple[str, ...], owner: Class, index: str, method: str) -> None:
        """An adapter does something with its table."""
        for action in actions:
            self._table_calls.setdefault((action, owner, index, method), self._current)

    def give_table(self, kind: Class, name: str, giver: Class | None) -> None:
        """A class is made with a table: one that its name tells, or the maker's own."""
        if found := re.search(r"(jobs|cache|ledger|registry)$", name):
            self.tables[kind].add(found[1].title())
        else:
            assert giver is not None, f"{kind.node.name} is made with {name}: which table is that?"
            self._lent.add((giver, kind))


class _Body:
    """A function, the top of a module, or a class with what it sets."""

    def __init__(
        self, module_: Module, node: ast.AST, owner: Class | None, function: Function | None, asker: "_Body | None"
    ) -> None:
        self._asker = asker
        self._module = module_
        self._node = node
        self._owner = owner
        self._locals: dict[str, Types | None] = function.argument_types() if function else {}
        self._assigned: dict[str, list[ast.expr]] = defaultdict(list)

    @property
    def _name(self) -> str:
        return self._node.name if isinstance(self._node, ast.FunctionDef) else ""

    @property
    def place(self) -> str:
        """Module, class and name."""
        owner = self._owner.node.name if self._owner else ""
        return ".".join(filter(None, (self._module.name, owner, self._name)))

    def way(self) -> str:
        """How it is reached, from the function's entry on."""
        return f"{self._asker.way()} > {self.place}" if self._asker else self.place

    def follow(self, reach: Reach) -> None:
        """Tell `reach` of everything that is named here."""
        nodes = list(code_of(self._node))
        for node in nodes:
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                self._assigned[node.targets[0].id].append(node.value)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                self._locals[node.target.id] = self._module.types(node.annotation)
        bases = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
        for node in nodes:
            match node:
                case ast.Call(func=function):
                    self._called(reach, node, function)
                case ast.Name(ctx=ast.Load()) if id(node) not in bases:
                    self._named(reach, self._module.named(node.id))
                case ast.Attribute(ctx=ast.Load()):
                    self._attribute(reach, node)
                case ast.Constant(value=str(text)) if (
                    self._in_adapters and text[:1].isupper() and text in _operations()
                ):
                    reach.use(_operations()[text])

    @property
    def _is_low(self) -> bool:
        """Whether it stands on a floor whose modules use only what they import."""
        return self._in_adapters or ".domain." in self._module.name

    @property
    def _in_adapters(self) -> bool:
        return ".adapters." in self._module.name

    def _named(self, reach: Reach, found: Module | Class | Function | None) -> None:
        if isinstance(found, Class):
            reach.make(found)
        elif isinstance(found, Function):
            reach.call(found)

    def _called(self, reach: Reach, node: ast.Call, function: ast.expr) -> None:
        if isinstance(function, ast.Attribute) and function.attr == "get_paginator":
            reach.use(_operations()[ast.literal_eval(node.args[0])])
        kind = self._module.resolve(function)
        if isinstance(function, ast.Name) and function.id == "cls":
            kind = self._owner
        if not isinstance(kind, Class):
            return
        reach.make(kind)
        if kind.node.name in TABLE_OPERATIONS and self._owner is not None:
            reach.use_table(TABLE_OPERATIONS[kind.node.name], self._owner, "", self._name)
        elif (init := next(iter(kind.methods.get("__init__", ())), None)) is not None:
            places = [argument.arg for argument in init.node.args.args][1:]
            given = dict(zip(places, node.args, strict=False)) | {key.arg: key.value for key in node.keywords}
            if "table" in places:
                reach.give_table(kind, ast.unparse(given["table"]), self._owner)

    def _attribute(self, reach: Reach, node: ast.Attribute) -> None:
        origin = self._module.resolve(node.value)
        if isinstance(origin, Module):
            self._named(reach, origin.named(node.attr))
            return
        if isinstance(origin, Class):
            for method in origin.methods.get(node.attr, ()):
                reach.call(method)
            return
        types = self._type_of(node.value)
        if types is None and self._is_low:
            types = Types(known=self._module)
        reach.name_attribute(node.attr, types)
        if not self._in_adapters:
            return
        if node.attr in TABLE_OPERATIONS:
            # Within the client the table is its caller's.
            if self._owner is not None and self._owner.node.name != "DynamoDBClient" and _may_be_client(types):
                reach.use_table(TABLE_OPERATIONS[node.attr], self._owner, self._index(node), self._name)
        elif node.attr in _operations():
            reach.use(_operations()[node.attr])

    def _index(self, function: ast.Attribute) -> str:
        """The index that a query names."""
        for node in code_of(self._node):
            if isinstance(node, ast.Call) and node.func is function:
                for keyword in node.keywords:
                    if keyword.arg == "index":
                        return str(ast.literal_eval(self._module.constant(keyword.value)))
        return ""

    def _type_of(self, node: ast.expr, depth: int = 0) -> Types | None:
        """What an expression may be; None if that is not known."""
        if isinstance(node, _DISPLAYS):
            return CONTAINER
        match node:
            case ast.Constant() | ast.JoinedStr():
                return ALIEN
            case ast.Name(id=name):
                return self._type_of_name(name, depth)
            case ast.Call(func=function):
                return self._type_of_call(function, depth)
            case ast.Attribute(value=value, attr=name):
                return self._type_of_attribute(self._type_of(value, depth), name)
            case _:
                return None

    def _type_of_name(self, name: str, depth: int) -> Types | None:
        if name in {"self", "cls"} and self._owner is not None:
            return Types(frozenset({self._owner}))
        if name in self._locals:
            return self._locals[name]
        if name in self._assigned:
            values = self._assigned[name]
            return self._type_of(values[0], depth + 1) if len(values) == 1 and depth < _DEEPEST else None
        return ALIEN if self._module.is_alien(name) else self._module.value_types(name)

    def _type_of_call(self, function: ast.expr, depth: int) -> Types | None:
        if isinstance(function, ast.Name) and function.id in CONTAINERS:
            return CONTAINER
        if isinstance(function, ast.Name) and function.id == "super":
            return self._type_of_name("self", depth)
        found = self._module.resolve(function)
        if isinstance(found, Class):
            return Types(frozenset({found}))
        if isinstance(found, Function):
            return found.returns
        kind = self._type_of(function, depth)
        return kind if kind is None or kind.alien else kind.returned

    def _type_of_attribute(self, types: Types | None, name: str) -> Types | None:
        """What an attribute may be; None if its annotation or the type of the object is not known."""
        if types is None or types.alien or len(types.classes) != 1:
            return types if types is not None and types.alien else None
        (kind,) = types.classes
        if name in kind.attributes:
            return kind.attributes[name]
        methods = kind.methods.get(name)
        return Types(returned=methods[0].returns) if methods else None


def _may_be_client(types: Types | None) -> bool:
    return types is None or types.known is not None or any(kind.node.name == "DynamoDBClient" for kind in types.classes)
