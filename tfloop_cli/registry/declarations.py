"""Names, arguments and docstrings of components, read from their source with `ast`: nothing is imported.

    @models.register("conv_net")
    def conv_net(spec: DataSpec, *, filters: list[PositiveInt] = [32]) -> keras.Model:
        '''Convolutions, then one dense layer.'''

The parameters after those that tfloop passes by position are the config keys. Annotations may use builtins, `typing`
and the argument types of tfloop; defaults are literals. A file that uses anything else raises `UnreadableError` and is
imported instead.
"""

import ast
import copy
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tfloop_cli
from tfloop_cli.registry import argument_types
from tfloop_cli.registry.docstrings import argument_descriptions, first_sentence

REGISTRY_MODULE = "tfloop_cli.registry"
_BUILTINS: Mapping[str, Any] = {kind.__name__: kind for kind in (int, float, str, bool, list, tuple, dict)}
# Modules whose names an annotation may use. Of `tfloop_cli`, only the argument types: other names load TensorFlow.
_ANNOTATION_MODULES: Mapping[str, Any] = {
    "typing": typing,
    "pathlib": types.SimpleNamespace(Path=Path),
    "tfloop_cli.registry.argument_types": argument_types,
    "tfloop_cli": types.SimpleNamespace(**{name: getattr(argument_types, name) for name in tfloop_cli.ARGUMENT_TYPES}),
}
_ANNOTATION_NODES = (
    ast.Name, ast.Attribute, ast.Subscript, ast.Tuple, ast.List, ast.BinOp, ast.BitOr, ast.Constant, ast.UnaryOp,
    ast.USub, ast.Load, ast.Call,
)  # fmt: skip


# Registry -> the number of arguments that tfloop passes to a builder by position; see `Registry.register`.
POSITIONAL: Mapping[str, int] = {"models": 1, "tasks": 1, "schedules": 1}


class UnreadableError(Exception):
    """A file registers components in a way that only importing it can resolve."""


@dataclass(frozen=True)
class Parameter:
    """One argument of a component, which is one key of its mapping in a config.

    Attributes:
        annotation: a type that pydantic can check.
        default: shared between calls; use the copies of `Declaration.defaults`.
        description: from the docstring; "" if it has none.
    """

    name: str
    annotation: Any
    required: bool
    default: Any = None
    description: str = field(default="", compare=False)

    @property
    def type_description(self) -> str:
        """What the argument accepts: "integer, at least 1"."""
        return argument_types.describe(self.annotation)


@dataclass(frozen=True)
class Declaration:
    """One component, known without importing it.

    Attributes:
        name: as in a config.
        module: the module to import to build it.
        qualname: name of the builder in that module.
        file, line: where it is declared.
        parameters: its config keys, in the order of the signature.
        by_path: whether `module` is a generated name for a `--code` file.
        bound: arguments that follow from the name itself (TFDS's `builder`).
    """

    name: str
    module: str
    qualname: str
    file: str
    line: int
    doc: str = ""
    parameters: tuple[Parameter, ...] = ()
    by_path: bool = False
    bound: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The first sentence of the docstring."""
        return first_sentence(self.doc)

    @property
    def place(self) -> str:
        """Where it is declared, in a form that editors understand."""
        return f"{self.file}:{self.line}"

    def defaults(self) -> dict[str, Any]:
        """Returns copies of the defaults, so that a builder that modifies one does not affect the next call."""
        return {one.name: copy.deepcopy(one.default) for one in self.parameters if not one.required}


@functools.cache
def read_file(path: Path, module: str, by_path: bool = False) -> tuple[tuple[str, Declaration], ...]:
    """Returns every registration of a Python file as (name of the registry, declaration), in the order of the file.

    Raises:
        UnreadableError: the file registers something in a way that only importing it can resolve.
        SyntaxError, OSError, UnicodeDecodeError: from reading and parsing.
    """
    tree = ast.parse(path.read_bytes(), filename=str(path))
    names = _imported_names(tree)
    found, understood = [], set()
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for registry, name, mention in _registrations(statement, names):
                understood.add(mention)
                line = statement.decorator_list[0].lineno
                doc = ast.get_docstring(statement) or ""
                arguments = _own_arguments(statement, POSITIONAL.get(registry, 0))
                parameters = _parameters(arguments, names, argument_descriptions(doc))
                declaration = Declaration(name, module, statement.name, str(path), line, doc, parameters, by_path)
                found.append((registry, declaration))
    for mention in _mentions(tree, names):
        if mention not in understood:
            raise UnreadableError(
                f"{path}:{mention.lineno}: a registration that is not a decorator with a literal name"
            )
    return tuple(found)


def read_object(name: str, builder: Callable[..., Any], positional: int, by_path: bool) -> Declaration:
    """Returns the declaration of a builder that has been imported already; for `positional` see `POSITIONAL`."""
    line = getattr(getattr(builder, "__code__", None), "co_firstlineno", 1)  # a class has none
    file, doc = inspect.getsourcefile(builder) or "<python>", inspect.getdoc(builder) or ""
    descriptions = argument_descriptions(doc)
    found = list(inspect.signature(builder, eval_str=True).parameters.values())
    own = [one for one in found if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)][positional:]
    own = [
        one for one in own if one.kind is one.POSITIONAL_OR_KEYWORD and one.name != "name"
    ]  # `name` of a Keras class
    own += [one for one in found if one.kind is one.KEYWORD_ONLY]
    parameters = tuple(_inspected(one, descriptions.get(one.name, "")) for one in own)
    return Declaration(name, builder.__module__, builder.__qualname__, file, line, doc, parameters, by_path)


def _inspected(parameter: inspect.Parameter, description: str) -> Parameter:
    annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
    required = parameter.default is parameter.empty
    return Parameter(parameter.name, annotation, required, None if required else parameter.default, description)


def _imported_names(tree: ast.Module) -> dict[str, str]:
    """Returns what the names of a file refer to: {"PositiveInt": "tfloop_cli.PositiveInt"}."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                names[alias.asname or name] = name
        elif isinstance(node, ast.ImportFrom):
            # A relative import can refer to tfloop only in its own package, where the last part of the module decides.
            module = f"tfloop_cli.{(node.module or '').rpartition('.')[2]}".rstrip(".") if node.level else node.module
            for alias in node.names:
                names[alias.asname or alias.name] = f"{module}.{alias.name}"
    return names


def _dotted(node: ast.expr, names: Mapping[str, str]) -> str:
    """Returns the full name of `models` or `tfloop_cli.models`; "" for anything else."""
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value, names)
        return f"{base}.{node.attr}" if base else ""
    return ""


def _registry_name(node: ast.expr, names: Mapping[str, str]) -> str | None:
    module, _, name = _dotted(node, names).rpartition(".")
    if module == REGISTRY_MODULE and name == "*":
        return name
    return name if module in ("tfloop_cli", REGISTRY_MODULE) and name in tfloop_cli.REGISTRIES else None


def _registrations(
    statement: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, names: Mapping[str, str]
) -> Iterator[tuple[str, str, ast.expr]]:
    """Yields (registry, component, node that mentions the registry) for each registering decorator."""
    found = []
    for decorator in statement.decorator_list:
        match decorator:
            case ast.Call(
                func=ast.Attribute(value=mention, attr="register"), args=[ast.Constant(value=str(name))], keywords=[]
            ) if registry := _registry_name(mention, names):
                found.append((registry, name, mention))
    if found and len(found) != len(statement.decorator_list):
        raise UnreadableError(f"another decorator on `{statement.name}` may change its signature")
    yield from found


def _mentions(tree: ast.Module, names: Mapping[str, str]) -> Iterator[ast.expr]:
    """Yields every use of a registry that may register: `models.register`, or `models` passed on.

    Other attributes, such as `models.build(...)`, only read.
    """
    if any(name in ("tfloop_cli.*", f"{REGISTRY_MODULE}.*") for name in names.values()):
        raise UnreadableError("`from tfloop_cli import *` hides which names are used")
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    reading = {id(node.value) for node in attributes if node.attr != "register"}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name | ast.Attribute) or id(node) in reading:
            continue
        if isinstance(node.ctx, ast.Load) and _registry_name(node, names):  # a task's own `models = (...)` is a Store
            yield node


def _own_arguments(
    statement: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, positional: int
) -> list[tuple[ast.arg, ast.expr | None]]:
    """Returns the parameters that become config keys, with their defaults; for `positional` see `POSITIONAL`."""
    found, skipped = _signature(statement), positional + isinstance(statement, ast.ClassDef)  # self
    defaults = [None] * (len(found.posonlyargs + found.args) - len(found.defaults)) + found.defaults
    pairs = list(zip(found.posonlyargs + found.args, defaults, strict=True))
    own = pairs[max(skipped, len(found.posonlyargs)) :]
    own = [(argument, default) for argument, default in own if argument.arg != "name"]  # of a Keras class
    return own + list(zip(found.kwonlyargs, found.kw_defaults, strict=True))


def _signature(statement: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> ast.arguments:
    if not isinstance(statement, ast.ClassDef):
        return statement.args
    for inner in statement.body:
        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__" and not inner.decorator_list:
            return inner.args
    raise UnreadableError(f"class `{statement.name}` inherits its `__init__`")


def _parameters(
    arguments: Sequence[tuple[ast.arg, ast.expr | None]], names: Mapping[str, str], descriptions: Mapping[str, str]
) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(
            argument.arg,
            Any if argument.annotation is None else _annotation(argument.annotation, names),
            required=default is None,
            default=None if default is None else literal(default),
            description=descriptions.get(argument.arg, ""),
        )
        for argument, default in arguments
    )


def literal(node: ast.expr) -> Any:
    """Returns the value of a default; raises `UnreadableError` for anything but a literal."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise UnreadableError(f"the default `{ast.unparse(node)}` on line {node.lineno} is not a literal") from None


def _annotation(node: ast.expr, names: Mapping[str, str]) -> Any:
    """Evaluates an annotation that uses known names only. Nothing is called but `Description` with a literal."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.parse(node.value, mode="eval").body
    known: dict[str, Any] = {}
    for inner in ast.walk(node):
        if not isinstance(inner, _ANNOTATION_NODES) or (isinstance(inner, ast.Call) and not _describes(inner, names)):
            raise UnreadableError(f"the annotation `{ast.unparse(node)}` is not supported")
        if isinstance(inner, ast.Name):
            known[inner.id] = _known_name(inner.id, names)
    try:
        return eval(compile(ast.Expression(node), "<annotation>", "eval"), {"__builtins__": {}}, known)
    except (TypeError, AttributeError) as error:
        raise UnreadableError(f"the annotation `{ast.unparse(node)}`: {error}") from None


def _describes(call: ast.Call, names: Mapping[str, str]) -> bool:
    return _dotted(call.func, names).endswith(".Description") and len(call.args) == 1 and not call.keywords


def _known_name(name: str, names: Mapping[str, str]) -> Any:
    if name not in names and name in _BUILTINS:
        return _BUILTINS[name]
    full = names.get(name, "")
    module, _, attribute = full.rpartition(".")
    if full in _ANNOTATION_MODULES:
        return _ANNOTATION_MODULES[full]
    if module in _ANNOTATION_MODULES and hasattr(_ANNOTATION_MODULES[module], attribute):
        return getattr(_ANNOTATION_MODULES[module], attribute)
    raise UnreadableError(f"`{name}` cannot be used in an annotation")
