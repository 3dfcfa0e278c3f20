"""The layer contract, read from the source: who may import what, and how long a thing may be."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tfloop_cli.registry.declarations import read_file

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


def test_only_the_engine_imports_tensorflow() -> None:
    for file in FILES:
        if not name_of(file).startswith("engine/"):
            roots = {name.split(".")[0] for name in imports(tree_of(file).body)}
            assert not roots & (HEAVY if name_of(file) not in ENGINE_COMMANDS else HEAVY - {"numpy"}), file


SCREEN_AND_DISK = ["console", "display", "recorder", "rundir"]
TRAINING = [f"engine.{room}" for room in ("loop", "state", "evaluation", "checkpoint", "saving", "optimizers", "judge")]

# A room -> the modules of ours that it may not import, by the beginning of their names: "" is every one. A file keeps
# the rules of all rooms that it lies in.
FORBIDDEN = {
    "errors.py": [""],
    "events.py": [""],
    "fields.py": [""],
    "jsontext.py": [""],
    "documents.py": ["engine", "config", "registry", "console", "rundir"],
    "config.py": ["engine", *SCREEN_AND_DISK, "configfile", "plugins", "checks"],
    "registry.py": ["engine", *SCREEN_AND_DISK, "config"],
    "plugins.py": ["engine", "console", "display", "recorder", "config", "configfile"],
    "folder.py": ["engine", "console", "display", "recorder", "config", "registry"],
    "console.py": ["engine", "display", "recorder", "rundir", "config", "registry"],
    "recorder.py": ["engine", "display", "config", "registry"],
    "display.py": ["engine", "recorder", "rundir", "config", "registry"],
    "engine/": ["console", "display", "recorder", "configfile"],
    "engine/runtime.py": ["engine.data", "engine.models", "engine.tasks", *TRAINING, "rundir"],
    "engine/kernels/": ["rundir", "config", "engine.data", "engine.models", "engine.tasks", *TRAINING],
    "engine/data/": ["engine.models", "engine.tasks", *TRAINING],
    "engine/models/": ["rundir", "config", "engine.tasks", "engine.data.pipeline", *TRAINING],
    "engine/optimizers.py": ["rundir", "engine.data", "engine.models", "engine.tasks", "engine.state", "engine.loop"],
    "engine/tasks/": [
        "rundir",
        "config",
        "engine.models",
        "engine.data.pipeline",
        *(one for one in TRAINING if one != "engine.state"),
    ],
    "engine/state.py": ["rundir", "engine.loop", "engine.models", "engine.evaluation", "engine.saving"],
    "engine/evaluation.py": ["rundir", "engine.loop", "engine.models", "engine.saving"],
    "engine/loop.py": [
        "rundir", "registry", "meta", "plugins",
        "engine.models", "engine.checkpoint", "engine.saving", "engine.samples",
    ],
    "commands/": ["cli"],
    "": ["cli", "__main__"],
}  # fmt: skip


def forbidden_imports(file: Path) -> list[str]:
    """What a file imports against the rules of the rooms that it lies in."""
    name = name_of(file)
    rooms = [room for room in FORBIDDEN if name == room or (room.endswith("/") and name.startswith(room)) or not room]
    return [
        f"{name} imports {module}"
        for module in own_imports(file) - {OURS, module_of(file)}
        for room in rooms
        for forbidden in FORBIDDEN[room]
        if not forbidden or f"{module}.".startswith(f"{OURS}.{forbidden}.")
    ]


def test_imports_go_down_only() -> None:
    wrong = [problem for file in FILES if file.name != "__main__.py" for problem in forbidden_imports(file)]
    assert wrong == []


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


def test_imports_stand_at_the_top() -> None:
    inside = {
        name_of(file)
        for file in FILES
        for function in functions(tree_of(file))
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert inside == IMPORTS_INSIDE


def test_every_shipped_component_is_read_and_not_run() -> None:
    """One that cannot be read is imported instead, and TensorFlow with it: `tfloop list` would take seconds."""
    found = [one for file in FILES if name_of(file).startswith("engine/") for one in read_file(file, module_of(file))]
    assert len(found) > 15


# Sizes that read well


def test_no_file_is_long() -> None:
    lengths = {name_of(file): len(file.read_text().splitlines()) for file in FILES}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


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


def test_no_function_is_long_or_deep() -> None:
    for file in FILES:
        for function in functions(tree_of(file)):
            lines = function.end_lineno - function.lineno + 1
            assert lines <= LONGEST_FUNCTION, f"{name_of(file)}: {function.name} has {lines} lines"
            assert depth(function) <= DEEPEST, f"{name_of(file)}: {function.name} is deep"


def test_depth_counts_as_a_reader_does() -> None:
    source = "def f():\n  for a in b:\n    if a:\n      pass\n    elif c:\n      with d:\n        pass\n"
    assert depth(ast.parse(source).body[0]) == 3


def test_the_page_and_the_loop_are_short() -> None:
    """Bars of the design: the map of the program under 100 lines, the loop under 200."""
    assert len((PACKAGE / "commands" / "train.py").read_text().splitlines()) < 100
    assert len((PACKAGE / "engine" / "loop.py").read_text().splitlines()) < 200


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
