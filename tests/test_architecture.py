"""The architecture, checked in the source: which package may import which, and the sizes of files and functions."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfloop_cli.registry.declarations import read_file

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tfloop_cli"
FILES = sorted(PACKAGE.rglob("*.py"))
NAME = "tfloop_cli"
HEAVY = {"tensorflow", "keras", "tensorflow_datasets", "numpy", "safetensors", "ml_dtypes"}
ENGINE_COMMANDS = {
    f"commands/{name}.py"
    for name in (
        "column_importance",
        "report_data",
        "report_at_end",
        "train",
        "evaluate",
        "predict",
        "before_training",
        "final_evaluation",
        "inspect_data",
        "opening",
        "dry_run",
        "lr_find",
        "data_arguments",
        "export",
    )
}
LAZY_IMPORTS = {  # imports inside of functions, so that `--help` is fast, and most runs do not import pyarrow
    "cli.py", "commands/shared.py", "engine/data/choosing.py", "engine/data/images/layout.py",
    "api/run.py", "api/training.py", "api/process.py", "report/plots.py",
    *(f"engine/exporting/{name}_file.py" for name in ("litert", "onnx", "openvino")),  # optional packages
    *(f"command_line/{file.name}" for file in (PACKAGE / "command_line").glob("[!_]*.py")),
}  # fmt: skip
NUMPY_ALONE = {
    f"{NAME}.engine.evaluation_files",
    f"{NAME}.engine.determination",
    f"{NAME}.engine.image_shapes",
}  # modules of the engine that reports import
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_DEPTH = 300, 60, 4

EVERYTHING_ABOVE = "*"
# Each part of the package -> the parts that it may import, besides itself. A part may import only parts above it.
ALLOWED: dict[str, list[str]] = {
    "errors": [],
    "events": [],
    "data_summary": [],
    "hardware": [],
    "lean_import": [],
    "signals": ["errors", "events"],
    "watchdog": ["events"],
    "export_formats": ["errors"],
    "metric_modes": [],
    "thresholds": ["errors"],
    "files": ["errors"],
    "ci": ["errors", "events", "files", "thresholds"],
    "cache_folder": ["errors"],
    "user_code": ["errors"],
    "memory": ["errors", "user_code"],
    "registry": ["errors", "user_code"],
    "config": ["errors", "registry"],
    "runs": [
        "errors", "events", "data_summary", "hardware", "metric_modes", "thresholds", "files", "registry", "config",
    ],
    "tracking": ["errors", "events", "files", "registry", "runs"],
    "terminal": ["errors", "events", "data_summary", "files", "config", "runs"],
    "engine.kernels": ["hardware"],
    "engine.runtime": ["errors", "hardware", "config", "engine.kernels"],
    "engine.augmentations": ["errors", "registry"],
    "engine.schedules": ["errors", "registry"],
    "engine.trackers": ["errors", "registry", "tracking"],
    "engine.image_shapes": [],
    "engine.data": [
        "errors", "cache_folder", "hardware", "registry", "config", "engine.augmentations", "engine.image_shapes",
    ],
    "engine.process_state": [],
    "engine.datasets": ["errors", "registry", "engine.data"],
    "engine.models": ["errors", "registry", "engine.kernels", "engine.data"],
    "engine.optimizers": ["errors", "user_code", "registry", "config", "engine.kernels", "engine.schedules"],
    "engine.arrays": [],
    "engine.determination": [],
    "engine.snapshot": ["errors", "engine.arrays"],
    "engine.state": ["errors", "runs", "engine.arrays", "engine.optimizers", "engine.snapshot"],
    "engine.traced_state": ["user_code"],
    "engine.tasks": ["errors", "registry", "engine.data", "engine.determination", "engine.state"],
    "engine.evaluation_files": ["files"],
    "engine.kept_outputs": ["engine.data", "engine.state", "engine.tasks", "engine.evaluation_files"],
    "engine.graph_failures": ["errors", "user_code", "engine.state", "engine.tasks"],
    "engine.evaluation": [
        "config", "engine.kernels", "engine.runtime", "engine.data", "engine.state", "engine.tasks",
        "engine.graph_failures", "engine.traced_state", "engine.kept_outputs",
    ],
    "engine.training": [
        "errors", "events", "user_code", "metric_modes", "registry", "config", "engine.kernels", "engine.data",
        "engine.optimizers", "engine.state", "engine.tasks",
    ],
    "engine.loop": [
        "events", "config", "engine.kernels", "engine.runtime", "engine.data", "engine.state", "engine.tasks",
        "engine.graph_failures", "engine.evaluation", "engine.traced_state", "engine.training",
    ],
    "engine.checkpoints": [
        "errors", "events", "files", "config", "runs", "engine.arrays", "engine.snapshot", "engine.state",
    ],
    "engine.trained_run": [
        "errors", "config", "runs", "engine.kernels", "engine.runtime", "engine.data", "engine.state", "engine.tasks",
        "engine.training", "engine.loop", "engine.checkpoints",
    ],
    "engine.run_data": ["errors", "config", "runs", "engine.data"],
    "engine.inference": ["errors", "hardware", "config", "engine.data", "engine.trained_run"],
    "engine.array_evaluation": ["errors", "engine.data", "engine.evaluation", "engine.trained_run", "engine.inference"],
    "engine.exporting": [
        "errors", "export_formats", "files", "runs", "engine.determination", "engine.evaluation_files",
        "engine.kernels", "engine.data", "engine.models", "engine.tasks", "engine.trained_run", "engine.run_data",
    ],
    "engine.trial": [
        "errors", "config", "engine.runtime", "engine.data", "engine.evaluation", "engine.loop", "engine.state",
        "engine.tasks", "engine.training",
    ],
    "engine.learning_rate_test": ["errors", "engine.trial"],
    "engine.self_test": ["config", "engine.kernels", "engine.trial"],
    "engine.profiling": ["events"],
    "engine.image_grid": [],
    "engine.samples": ["events", "files", "runs", "engine.image_grid", "engine.state", "engine.tasks"],
    "engine.inspection": ["errors", "data_summary", "config", "engine.data"],
    "engine.start_event": ["events", "config", "runs", "engine.data", "engine.state"],
    "report": [
        "errors", "files", "metric_modes", "runs", "terminal", "engine.determination", "engine.evaluation_files",
        "engine.image_shapes",
    ],
    "commands": [EVERYTHING_ABOVE],
    "api": [
        "errors", "events", "signals", "thresholds", "export_formats", "files", "config", "runs", "tracking",
        "terminal", "engine.data", "engine.trained_run", "commands",
    ],
    "command_line": ["errors", "terminal", "commands"],
    "cli": ["errors", "terminal", "commands", "command_line"],
    "__main__": ["signals", "cli"],
}  # fmt: skip


ORDER = list(ALLOWED)
for part, others in ALLOWED.items():
    if others == [EVERYTHING_ABOVE]:
        ALLOWED[part] = ORDER[: ORDER.index(part)]


def name_of(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def module_of(file: Path) -> str:
    return ".".join([NAME, *file.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


MODULES = {module_of(file): file for file in FILES}


def part_of(module: str) -> str | None:
    """The part of the package that a module belongs to; None for `tfloop_cli` and `tfloop_cli.engine` themselves."""
    dotted = module.removeprefix(f"{NAME}.")
    return next((part for part in ALLOWED if f"{dotted}.".startswith(f"{part}.")), None)


def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes(), filename=str(file))


def imports(nodes: list[ast.stmt], for_types: bool = True) -> Iterator[str]:
    """Yields the dotted names that top-level statements import; optionally without `if TYPE_CHECKING` blocks."""
    for node in nodes:
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=0):
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.ImportFrom():
                raise AssertionError("a relative import")
            case ast.If(test=ast.Name(id="TYPE_CHECKING")) if not for_types:
                pass
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                pass
            case _:
                inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
                yield from imports(inner, for_types)


def own_imports(file: Path, for_types: bool = True) -> set[str]:
    """Returns the modules of tfloop that a file imports at its top."""
    found = {name for name in imports(tree_of(file).body, for_types) if name.split(".")[0] == NAME}
    return {name if name in MODULES else name.rpartition(".")[0] for name in found} - {module_of(file)}


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_checks_find_known_imports() -> None:
    assert {"cli.py", "engine/loop.py", "engine/data/pipeline.py", "commands/train.py"} <= set(map(name_of, FILES))
    assert f"{NAME}.config.schema" in own_imports(PACKAGE / "engine" / "loop.py")
    assert "tensorflow" in {name.split(".")[0] for name in imports(tree_of(PACKAGE / "engine" / "loop.py").body)}


# Imports


def test_every_module_belongs_to_a_part() -> None:
    assert [module for module in MODULES if part_of(module) is None] == [NAME, f"{NAME}.engine"]


def test_every_part_exists_and_imports_only_parts_above_it() -> None:
    for part, allowed in ALLOWED.items():
        assert any(part_of(module) == part for module in MODULES), f"there is no {part}"
        assert all(ORDER.index(other) < ORDER.index(part) for other in allowed), part


@pytest.mark.parametrize("part", ALLOWED)
def test_part_imports_only_what_it_may(part: str) -> None:
    for module, file in MODULES.items():
        if part_of(module) == part:
            parts = {part_of(other) for other in own_imports(file)} - {part, None}
            assert parts <= set(ALLOWED[part]), f"{name_of(file)} imports {sorted(parts - set(ALLOWED[part]))}"


def test_every_allowed_import_is_used() -> None:
    for part, allowed in ALLOWED.items():
        files = [file for module, file in MODULES.items() if part_of(module) == part]
        used = {part_of(other) for file in files for other in own_imports(file)}
        above = ORDER[: ORDER.index(part)]
        if allowed != above and part not in ("cli", "command_line", "api"):  # they import inside of functions
            assert set(allowed) <= used, f"{part} does not import {sorted(set(allowed) - used)}"


def test_only_the_engine_imports_tensorflow() -> None:
    """Commands on data and models, and reports, may import NumPy."""
    for file in FILES:
        if not name_of(file).startswith("engine/"):
            roots = {name.split(".")[0] for name in imports(tree_of(file).body, for_types=False)}
            may_use_numpy = name_of(file) in ENGINE_COMMANDS or name_of(file).startswith("report/")
            assert not roots & (HEAVY - ({"numpy"} if may_use_numpy else set())), file


def test_only_commands_on_data_and_models_import_the_engine() -> None:
    for file in FILES:
        if not name_of(file).startswith("engine/") and name_of(file) not in ENGINE_COMMANDS:
            engine = {name for name in own_imports(file, for_types=False) if name.startswith(f"{NAME}.engine")}
            if name_of(file).startswith("report/"):
                engine -= NUMPY_ALONE
            assert not engine, f"{name_of(file)} imports {sorted(engine)}"


def test_modules_of_numpy_alone_import_no_tensorflow() -> None:
    for module in NUMPY_ALONE:
        assert not {name.split(".")[0] for name in imports(tree_of(MODULES[module]).body)} & (HEAVY - {"numpy"})
        assert not {name for name in own_imports(MODULES[module]) if name.startswith(f"{NAME}.engine")}


def test_no_import_cycles() -> None:
    """Imports for type checkers count too, except those of the public face, which only re-exports."""
    links = {module: own_imports(file, for_types=module != NAME) & set(MODULES) for module, file in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path, module])
        if module not in done:
            for other in links[module]:
                visit(other, (*path, module))
            done.add(module)

    for module in links:
        visit(module, ())


def test_imports_are_at_the_top_of_files() -> None:
    inside = {
        name_of(file)
        for file in FILES
        for function in functions(tree_of(file))
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert inside == LAZY_IMPORTS


def test_every_shipped_component_is_read_statically() -> None:
    """A component that cannot be read is imported instead, and TensorFlow with it: `tfloop list` would take seconds."""
    found = [one for file in FILES if name_of(file).startswith("engine/") for one in read_file(file, module_of(file))]
    assert len(found) > 15


def test_no_module_imports_click() -> None:
    """Typer has its own copy."""
    for file in FILES:
        assert "click" not in {name.split(".")[0] for name in imports(tree_of(file).body)}, file


# Sizes


def test_files_are_short() -> None:
    lengths = {name_of(file): len(file.read_text().splitlines()) for file in FILES}
    assert {name: length for name, length in lengths.items() if length > MAX_FILE_LINES} == {}


def depth(node: ast.AST, level: int = 0) -> int:
    """Returns how deeply blocks are nested; `elif` is as deep as its `if`, and an inner function starts at 0."""
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


def test_functions_are_short_and_flat() -> None:
    for file in FILES:
        for function in functions(tree_of(file)):
            # Each option of a command is a parameter, on a line of its own.
            has_options = name_of(file) == "cli.py" or name_of(file).startswith("command_line/")
            lines = function.end_lineno - (function.body[0] if has_options else function).lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{name_of(file)}: {function.name} has {lines} lines"
            assert depth(function) <= MAX_DEPTH, f"{name_of(file)}: {function.name} is nested too deeply"


def test_depth_counts_elif_as_its_if() -> None:
    source = "def f():\n  for a in b:\n    if a:\n      pass\n    elif c:\n      with d:\n        pass\n"
    assert depth(ast.parse(source).body[0]) == 3


def test_train_command_and_loop_fit_on_a_page() -> None:
    assert len((PACKAGE / "commands" / "train.py").read_text().splitlines()) < 100
    assert len((PACKAGE / "engine" / "loop.py").read_text().splitlines()) < 200


def test_training_loop_is_written_out() -> None:
    """A tape, gradients and an update; Keras' `fit` and `train_on_batch` are not used anywhere."""
    for file in FILES:
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in ("fit", "fit_generator", "train_on_batch", "compile_and_fit"), file
    source = (PACKAGE / "engine" / "tasks" / "supervised.py").read_text()
    assert all(word in source for word in ("tf.GradientTape()", "tape.gradient(", "optimizer.apply("))
