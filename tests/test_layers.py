"""The layer contract, read from the source: who may import what, and how long a thing may be."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfloop_cli.declarations import read_file

PACKAGE = Path(__file__).parent.parent / "tfloop_cli"
FILES = sorted(PACKAGE.rglob("*.py"))
OURS = "tfloop_cli"
HEAVY = {"tensorflow", "keras", "tensorflow_datasets", "numpy", "safetensors", "ml_dtypes"}

ENGINE_COMMANDS = {f"commands/{name}.py" for name in ("train", "evaluate", "opening")}

IMPORTS_INSIDE = {"cli.py"}  # what a command does not use is not imported
LONGEST_FILE, LONGEST_FUNCTION, DEEPEST = 330, 60, 4


def name_of(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def module_of(file: Path) -> str:
    return ".".join([OURS, *file.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes(), filename=str(file))


def imports(nodes: list[ast.stmt]) -> Iterator[str]:
    """Dotted names of what statements import; `if TYPE_CHECKING` is for type checkers only."""
    for node in nodes:
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=0):
                for alias in names:
                    yield f"{module}.{alias.name}"
            case ast.ImportFrom():
                raise AssertionError("a relative import")
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                pass
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                pass
            case _:
                inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
                yield from imports(inner)


MODULES = {module_of(file): file for file in FILES}


def own_imports(file: Path) -> set[str]:
    """Our modules that a file imports at its top."""
    found = set()
    for name in imports(tree_of(file).body):
        if name.split(".")[0] == OURS:
            found.add(name if name in MODULES else name.rpartition(".")[0])
    return found


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_there_is_something_to_look_at() -> None:
    assert {"cli.py", "engine/loop.py", "engine/data/pipeline.py", "commands/train.py"} <= set(map(name_of, FILES))
    assert f"{OURS}.config" in own_imports(PACKAGE / "engine" / "loop.py")
    assert "tensorflow" in {name.split(".")[0] for name in imports(tree_of(PACKAGE / "engine" / "loop.py").body)}


# Who may import what


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_only_the_engine_imports_tensorflow(file: Path) -> None:
    roots = {name.split(".")[0] for name in imports(tree_of(file).body)}
    if "engine" not in file.relative_to(PACKAGE).parts:
        assert not roots & (HEAVY if name_of(file) not in ENGINE_COMMANDS else HEAVY - {"numpy"})


# A room -> the modules of ours that it may not import, by the beginning of their names; the rooms in the design's order.
FORBIDDEN = {
    "errors.py": [""],
    "events.py": [""],
    "fields.py": [""],
    "jsontext.py": [""],
    "documents.py": ["engine", "commands", "cli", "config", "registry", "console", "rundir"],
    "config.py": ["engine", "commands", "cli", "configfile", "rundir", "console", "display", "recorder", "plugins", "checks"],
    "registry.py": ["engine", "commands", "cli", "config", "rundir", "console", "display", "recorder"],
    "plugins.py": ["engine", "commands", "cli", "config", "configfile", "console", "display", "recorder"],
    "rundir.py": ["engine", "commands", "cli", "config", "registry", "display", "recorder"],
    "console.py": ["engine", "commands", "cli", "config", "registry", "display", "recorder", "rundir"],
    "recorder.py": ["engine", "commands", "cli", "config", "registry", "display"],
    "display.py": ["engine", "commands", "cli", "config", "registry", "recorder", "rundir"],
    "engine/runtime.py": ["commands", "cli", "rundir", "console", "display", "recorder", "engine", "configfile"],
    "engine/data/": [
        "commands", "cli", "console", "display", "recorder", "engine.models", "engine.tasks", "engine.loop",
        "engine.state", "engine.evaluation", "engine.checkpoint", "engine.saving", "engine.optimizers", "configfile",
    ],
    "engine/models/": [
        "commands", "cli", "console", "display", "recorder", "rundir", "config", "engine.tasks", "engine.loop",
        "engine.state", "engine.evaluation", "engine.checkpoint", "engine.saving", "engine.optimizers",
        "engine.data.pipeline",
    ],
    "engine/optimizers.py": ["commands", "cli", "console", "display", "recorder", "rundir", "engine.data", "engine.models"],
    "engine/tasks/": [
        "commands", "cli", "console", "display", "recorder", "rundir", "config", "engine.loop", "engine.models",
        "engine.evaluation", "engine.checkpoint", "engine.saving", "engine.data.pipeline",
    ],
    "engine/state.py": ["commands", "cli", "console", "display", "recorder", "rundir", "engine.loop", "engine.models"],
    "engine/loop.py": [
        "commands", "cli", "console", "display", "recorder", "rundir", "registry", "configfile", "meta", "plugins",
        "engine.models", "engine.checkpoint", "engine.saving", "engine.samples",
    ],
    "engine/evaluation.py": ["commands", "cli", "console", "display", "recorder", "rundir", "engine.loop", "engine.models"],
    "engine/": ["commands", "cli", "console", "display", "recorder"],
    "commands/": ["cli"],
    "": ["cli"],
}  # fmt: skip


@pytest.mark.parametrize("file", [file for file in FILES if file.name != "__main__.py"], ids=name_of)
def test_imports_go_down_only(file: Path) -> None:
    name = name_of(file)
    rules = [rule for room, rule in FORBIDDEN.items() if name.startswith(room) and (room.endswith("/") or room in ("", name))]
    wrong = [
        module
        for module in own_imports(file) - {OURS, module_of(file)}
        for rule in rules
        for forbidden in rule
        if not forbidden or f"{module}.".startswith(f"{OURS}.{forbidden}.")
    ]
    assert not wrong


def test_every_rule_is_about_a_room_that_is_there() -> None:
    rooms = [room for room in FORBIDDEN if room]
    assert [room for room in rooms if not (PACKAGE / room).exists()] == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    """At the top of files; a cycle would make the order of imports matter."""
    links = {module: {one for one in own_imports(file) if one in MODULES} for module, file in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path, module])
        if module not in done:
            for other in links[module] - {module}:
                visit(other, (*path, module))
            done.add(module)

    for module in links:
        visit(module, ())


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_stand_at_the_top(file: Path) -> None:
    inside = [
        f"{function.name}:{node.lineno}"
        for function in functions(tree_of(file))
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    if name_of(file) in IMPORTS_INSIDE:
        assert inside
    else:
        assert inside == []


@pytest.mark.parametrize("file", sorted((PACKAGE / "engine").rglob("*.py")), ids=name_of)
def test_every_shipped_component_is_read_and_not_run(file: Path) -> None:
    """One that cannot be read is imported instead, and TensorFlow with it: `tfloop list` would take seconds."""
    read_file(file, module_of(file))


# Sizes that read well


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_file_is_long(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= LONGEST_FILE


def depth(node: ast.AST, level: int = 0) -> int:
    """How deep blocks lie in each other; `elif` is no deeper than its `if`, and a function of its own begins anew."""
    deepest = level
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST):
                continue
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
                continue
            chained = isinstance(node, ast.If) and field == "orelse" and isinstance(child, ast.If)
            blocks = ast.If | ast.For | ast.While | ast.With | ast.Try | ast.Match
            deepest = max(deepest, depth(child, level + (isinstance(child, blocks) and not chained)))
    return deepest


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_function_is_long_or_deep(file: Path) -> None:
    for function in functions(tree_of(file)):
        assert function.end_lineno - function.lineno + 1 <= LONGEST_FUNCTION, f"{function.name} is long"
        assert depth(function) <= DEEPEST, f"{function.name} is deep"


def test_depth_counts_as_a_reader_does() -> None:
    source = "def f():\n  for a in b:\n    if a:\n      pass\n    elif c:\n      with d:\n        pass\n"
    assert depth(ast.parse(source).body[0]) == 3


def code_lines(file: Path) -> int:
    """Lines that are neither blank nor comment nor docstring."""
    documented = ast.Module | ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef
    told: set[int] = set()
    for node in ast.walk(tree_of(file)):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            told.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(file.read_text().splitlines(), start=1)
    return sum(1 for number, line in lines if number not in told and line.strip() and not line.strip().startswith("#"))


def test_the_page_and_the_loop_are_short() -> None:
    """Bars of the design: the map of the program under 100 lines, the loop under 200."""
    assert len((PACKAGE / "commands" / "train.py").read_text().splitlines()) < 100
    assert len((PACKAGE / "engine" / "loop.py").read_text().splitlines()) < 200
    assert 40 < code_lines(PACKAGE / "commands" / "train.py")


def test_the_loop_has_no_fit_and_is_written_out() -> None:
    """Promise 1: a tape, gradients, an update; no `model.fit`, no `train_step` of Keras' own, anywhere."""
    for file in FILES:
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in ("fit", "fit_generator", "train_on_batch", "compile_and_fit"), file
    source = (PACKAGE / "engine" / "tasks" / "supervised.py").read_text()
    assert all(word in source for word in ("tf.GradientTape()", "tape.gradient(", "optimizer.apply("))


def test_typer_brings_its_own_click() -> None:
    for file in FILES:
        assert "click" not in {name.split(".")[0] for name in imports(tree_of(file).body)}, file
