"""The product's own code as syntax trees: what names mean in it, and what annotations say of attributes."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_LAYER = ROOT / "layers" / "tollgate"
CONTAINERS = frozenset(
    "dict list set frozenset tuple Mapping MutableMapping Sequence Iterable Iterator Generator Collection".split()
)
_PLAIN = frozenset("str int float bool bytes None".split())
_LENT = frozenset("collections concurrent contextlib copy dataclasses functools itertools operator typing".split())
"""Libraries whose objects hand out what they were given; those of all others have nothing of the product's."""


@dataclass(frozen=True)
class Types:
    """What a value may be.

    Attributes:
        classes: of the product; methods of other classes are none of ours.
        returned: what a call of it returns, if it can be called.
        alien: nothing of the product's is to be had from it, whatever is asked of it.
        known: of an unknown class, but one that this module can know.
    """

    classes: frozenset["Class"] = frozenset()
    returned: "Types | None" = None
    alien: bool = False
    known: "Module | None" = None


CONTAINER = Types()
ALIEN = Types(alien=True)


@dataclass(frozen=True, eq=False)
class Function:
    """A function or method, with what is defined inside it."""

    module: "Module"
    node: ast.FunctionDef
    owner: "Class | None" = None

    @cached_property
    def returns(self) -> Types | None:
        """What its annotation says; None if that says nothing."""
        return self.module.types(self.node.returns)

    @property
    def is_property(self) -> bool:
        """Whether naming it calls it."""
        return any("property" in ast.unparse(decorator) for decorator in self.node.decorator_list)

    def argument_types(self) -> dict[str, Types | None]:
        """What annotations say of the parameters, those of functions inside included."""
        found: dict[str, Types | None] = {}
        for node in ast.walk(self.node):
            if isinstance(node, ast.FunctionDef | ast.Lambda):
                arguments = node.args
                for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
                    found[argument.arg] = self.module.types(argument.annotation)
        return found


@dataclass(frozen=True, eq=False)
class Class:
    """A class of the product."""

    module: "Module"
    node: ast.ClassDef

    @cached_property
    def line(self) -> list["Class"]:
        """The class and those that it stands on."""
        bases = [
            self.module.resolve(base.value if isinstance(base, ast.Subscript) else base) for base in self.node.bases
        ]
        return list(dict.fromkeys([self, *(above for base in bases if isinstance(base, Class) for above in base.line)]))

    @cached_property
    def methods(self) -> dict[str, list[Function]]:
        """By name, with those that they override, which `super()` may call."""
        found: dict[str, list[Function]] = {}
        for owner in self.line:
            for node in owner.node.body:
                if isinstance(node, ast.FunctionDef):
                    found.setdefault(node.name, []).append(Function(owner.module, node, owner))
        return found

    @cached_property
    def members(self) -> frozenset[str]:
        """Names of methods and annotated attributes."""
        fields = (node.target for owner in self.line for node in owner.node.body if isinstance(node, ast.AnnAssign))
        return frozenset(self.methods) | {target.id for target in fields if isinstance(target, ast.Name)}

    @cached_property
    def is_protocol(self) -> bool:
        """Whether it only says what others have."""
        return any(ast.unparse(base).startswith("Protocol") for base in self.node.bases)

    def may_be(self, types: Types | None) -> bool:
        """Whether one of this class may be what is known of a value."""
        if types is None:
            return True
        if types.known is not None:
            modules, protocols = types.known.known
            return any(owner.module.name in modules for owner in self.line) or any(map(self.fits, protocols))
        return any(map(self.fits, types.classes))

    def fits(self, wanted: "Class") -> bool:
        """Whether one of this class may stand where `wanted` is asked for."""
        return wanted in self.line or (
            wanted.is_protocol
            and wanted.members <= self.members
            and all(
                _takes(self.methods[name][0], asked[0])
                for name, asked in wanted.methods.items()
                if name in self.methods
            )
        )

    @cached_property
    def attributes(self) -> dict[str, Types | None]:
        """What fields, properties and `__init__` say of the attributes."""
        found: dict[str, Types | None] = {}
        for owner in reversed(self.line):
            for node in owner.node.body:
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    found[node.target.id] = owner.module.types(node.annotation)
                elif isinstance(node, ast.FunctionDef):
                    function = Function(owner.module, node, owner)
                    if function.is_property:
                        found[node.name] = function.returns
                    elif node.name == "__init__":
                        found |= _assigned(function)
        return found


def _takes(offered: Function, asked: Function) -> bool:
    """Whether a method can be called as a protocol asks; what arguments are called by place may differ."""
    theirs, ours = asked.node.args, offered.node.args
    if ours.vararg or ours.kwarg:
        return True
    places = len(ours.posonlyargs + ours.args)
    names = {argument.arg for argument in ours.args + ours.kwonlyargs}
    return (
        places - len(ours.defaults) <= len(theirs.posonlyargs + theirs.args) <= places
        and {argument.arg for argument in theirs.kwonlyargs} <= names
    )


def _assigned(init: Function) -> dict[str, Types | None]:
    """The attributes that `__init__` sets from its parameters, or to new objects."""
    found: dict[str, Types | None] = {}
    arguments = init.argument_types()
    for node in ast.walk(init.node):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            if isinstance(target, ast.Attribute) and isinstance(node, ast.Assign | ast.AnnAssign):
                value = node.value
                if isinstance(node, ast.AnnAssign):
                    found[target.attr] = init.module.types(node.annotation)
                elif isinstance(value, ast.Name):
                    found[target.attr] = arguments.get(value.id)
                elif isinstance(value, ast.Call) and isinstance(made := init.module.resolve(value.func), Class):
                    found[target.attr] = Types(frozenset({made}))
    return found


@dataclass(frozen=True, eq=False)
class Module:
    """A file of the product."""

    name: str
    tree: ast.Module

    @cached_property
    def _imports(self) -> dict[str, tuple[str, str]]:
        found: dict[str, tuple[str, str]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                found |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
            elif isinstance(node, ast.Import):
                found |= {alias.asname or alias.name.partition(".")[0]: (alias.name, "") for alias in node.names}
        return found

    @cached_property
    def _own(self) -> dict[str, "Class | Function"]:
        found: dict[str, Class | Function] = {}
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef):
                found[node.name] = Function(self, node)
            elif isinstance(node, ast.ClassDef):
                found[node.name] = Class(self, node)
        return found

    def named(self, name: str) -> "Module | Class | Function | None":
        """What of the product a name means here."""
        if name in self._own:
            return self._own[name]
        source, symbol = self._imports.get(name, ("", ""))
        if not source.startswith("tollgate"):
            return None
        origin = module(source)
        return module(f"{source}.{symbol}") or (origin and origin.named(symbol))

    @cached_property
    def known(self) -> tuple[frozenset[str], frozenset[Class]]:
        """The modules that it imports from, itself included, and the protocols among what it imports."""
        found = (self.named(name) for name in self._imports)
        sources = {self.name, *(source for source, _ in self._imports.values())}
        return frozenset(sources), frozenset(one for one in found if isinstance(one, Class) and one.is_protocol)

    def value_types(self, name: str) -> Types | None:
        """What a constant may be, here or where it is imported from."""
        for given in self.tree.body:
            if isinstance(given, ast.Assign) and ast.unparse(given.targets[0]) == name:
                made = self.resolve(given.value.func) if isinstance(given.value, ast.Call) else None
                if isinstance(made, Class):
                    return Types(frozenset({made}))
                return made.returns if isinstance(made, Function) else None
            if isinstance(given, ast.AnnAssign) and ast.unparse(given.target) == name:
                return self.types(given.annotation)
        source, symbol = self._imports.get(name, ("", ""))
        origin = module(source) if source.startswith("tollgate") else None
        return None if origin is None else origin.value_types(symbol)

    def constant(self, node: ast.expr) -> ast.expr:
        """A value, or what the module gave this name."""
        for given in self.tree.body:
            if isinstance(given, ast.Assign) and ast.unparse(given.targets[0]) == ast.unparse(node):
                return given.value
        return node

    def is_alien(self, name: str) -> bool:
        """Whether a name comes from a library that knows nothing of the product."""
        source = self._imports.get(name, ("tollgate", ""))[0].partition(".")[0]
        return source not in _LENT | {"tollgate"}

    def resolve(self, node: ast.expr) -> "Module | Class | Function | None":
        """What a name, or a name in a module, means here."""
        if isinstance(node, ast.Name):
            return self.named(node.id)
        if isinstance(node, ast.Attribute) and isinstance(origin := self.resolve(node.value), Module):
            return origin.named(node.attr)
        return None

    def types(self, annotation: ast.expr | None) -> Types | None:  # noqa: PLR0911 -- one for each form of an annotation
        """What an annotation says, or None if it does not tell."""
        match annotation:
            case ast.Constant(value=None):
                return ALIEN
            case ast.Constant(value=str(text)):
                return self.types(ast.parse(text, mode="eval").body)
            case ast.BinOp(left=left, right=right):
                return _either(self.types(left), self.types(right))
            case ast.Subscript(value=ast.Name(id="Callable"), slice=ast.Tuple(elts=[_, answer])):
                return Types(returned=self.types(answer))
            case ast.Subscript(value=outer):
                return self.types(outer)
            case ast.Name(id=name) if name in CONTAINERS:
                return CONTAINER
            case ast.Name(id=name) if name in _PLAIN or self.is_alien(name):
                return ALIEN
            case ast.Name() | ast.Attribute():
                found = self.resolve(annotation)
                return Types(frozenset({found})) if isinstance(found, Class) else None
            case _:
                return None


def _either(one: Types | None, other: Types | None) -> Types | None:
    if one is None or other is None:
        return None
    return Types(one.classes | other.classes, one.returned or other.returned, one.alien and other.alien)


@cache
def module(name: str) -> Module | None:
    """A module of the product, or None if it has none of that name."""
    base = (ROOT if name.startswith("functions") else _LAYER).joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return Module(name, ast.parse(path.read_text()))
    return None


def code_of(node: ast.AST) -> Iterator[ast.AST]:
    """What runs: all of it but annotations and, of a class or a module, the functions defined in it."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        yield current
        skipped: set[int] = set()
        if isinstance(current, ast.FunctionDef):
            skipped.add(id(current.returns))
        elif isinstance(current, ast.arg | ast.AnnAssign):
            skipped.add(id(current.annotation))
        elif isinstance(current, ast.Module | ast.ClassDef):
            skipped |= {id(inner) for inner in current.body if isinstance(inner, ast.FunctionDef | ast.ClassDef)}
        waiting += [inner for inner in ast.iter_child_nodes(current) if id(inner) not in skipped]
