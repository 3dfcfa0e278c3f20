"""`tfloop init`: writes a commented config that trains on the user's data, or as a built-in config does."""

import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tfloop_cli
from tfloop_cli.commands.config import schema
from tfloop_cli.commands.data_arguments import (
    columns,
    preset_of_data,
    require_classes,
    suitable_dataset,
    unknown_target,
)
from tfloop_cli.commands.list import config_descriptions
from tfloop_cli.config.data_paths import data_sets
from tfloop_cli.config.loading import Resolved, load, shipped_names
from tfloop_cli.config.suggestions import COMPONENT_KEYS, nearest
from tfloop_cli.config.template import template
from tfloop_cli.errors import TfloopError, short_path
from tfloop_cli.files import disk_errors, read_json, write_atomic
from tfloop_cli.registry import Component
from tfloop_cli.registry.argument_types import branches
from tfloop_cli.registry.docstrings import first_sentence
from tfloop_cli.terminal.console import Console

SCHEMA = "tfloop.schema.json"
DEFAULT_PRESET = "mnist"
# Names of columns that are usually to be predicted, the most probable first.
TARGETS = ("target", "label", "labels", "class", "y", "category", "outcome")
_FOR_TEXTS = ("text", "text_embeddings")  # presets that need the dataset `text` for a table
_ARGUMENTS = {"text_embeddings": "dataset.features=ids"}  # what a preset needs of its dataset


@dataclass(frozen=True)
class Options:
    """The options of `tfloop init`.

    Attributes:
        preset: the name of a built-in config; None for the one that suits the data.
        data: a path; None for the data of the preset.
        dataset: the dataset that reads `data`; None for the one that suits it.
        target: the column to predict; None to choose it by its name, or to ask.
        output: the file to write, which must not exist.
        schema: whether to write the JSON Schema for editors next to it.
    """

    preset: str | None = None
    data: str | None = None
    dataset: str | None = None
    target: str | None = None
    output: Path = Path("tfloop.yaml")
    schema: bool = True


def init(options: Options, console: Console) -> dict[str, Any]:
    """Writes a config, and the schema for editors next to it.

    Returns: the JSON document: "file", "schema_file", "preset", "dataset" and "target".
    Raises: TfloopError, exit codes: the file exists or the preset does not, the column to predict is unknown 2, data
        that cannot be read 4, disk 75.
    """
    file, beside = options.output, options.output.parent / SCHEMA
    _require_free(file)
    if options.schema and beside.exists() and read_json(beside).get("title") != "tfloop config":
        raise TfloopError(f"{beside} exists, and tfloop did not write it", hint="use `--no-schema` to leave it alone")
    options = _with_data(options, console)
    preset = options.preset or DEFAULT_PRESET
    if preset not in shipped_names():
        raise TfloopError(
            f"unknown preset `{preset}`", hint=nearest(preset, shipped_names(), "the built-in configs are")
        )
    sets = data_sets(options.data, options.dataset, options.target)
    sets += [_ARGUMENTS[preset]] if options.data and preset in _ARGUMENTS else []
    resolved = load([preset], sets=sets)
    absolute = bool(options.data) and Path(str(options.data)).expanduser().is_absolute()
    written = resolved if absolute else _with_relative_paths(resolved, file.parent)
    head = _head(preset, file, options)
    with disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, template(written, head).encode())
        if options.schema and not beside.exists():  # an own one may have the components of own code
            write_atomic(beside, f"{schema()}\n".encode())
    _note_missing_data(resolved, console)
    return {
        "event": "init", "file": str(file), "schema_file": str(beside) if options.schema else None,
        "preset": preset, "dataset": resolved.config.dataset.name, "target": options.target,
    }  # fmt: skip


def describe(document: dict[str, Any]) -> str:
    """Returns the document as text."""
    target = f", target {json.dumps(document['target'], ensure_ascii=False)}" if document["target"] else ""
    schema_file = f"\n{document['schema_file']}: the schema for your editor" if document["schema_file"] else ""
    return f"{document['file']}: {document['preset']} on {document['dataset']}{target}{schema_file}"


def _require_free(file: Path) -> None:
    if os.path.lexists(file):
        raise TfloopError(f"{file} exists already", hint="`-o FILE` writes another one")
    if file.suffix not in (".yaml", ".yml"):
        raise TfloopError(f"`--output {file}`: the name of a config ends in .yaml", hint=f"use `-o {file}.yaml`")


def _with_data(options: Options, console: Console) -> Options:
    """Returns the options with the dataset, the preset and the target that the data decides."""
    if options.data is None:
        if options.target or options.dataset:
            raise TfloopError("`--target` and `--dataset` are about data", hint="name it: `--data PATH`")
        return options
    dataset = options.dataset or suitable_dataset(options.data, options.target)
    if options.dataset is None and dataset == "table" and options.preset in _FOR_TEXTS:
        dataset = "text"
    target = options.target
    if dataset == "images":
        require_classes(options.data, target)
    if dataset == "table" and target is None:
        target = _choose_target(options.data, console)
    is_file = dataset in ("table", "text") and Path(options.data).is_file()
    if is_file and target is not None and target not in (names := columns(options.data)):
        listed = ", ".join(f"`{name}`" for name in names)
        raise TfloopError(f"{options.data}: there is no column `{target}`", hint=f"the columns are {listed}")
    preset = options.preset or preset_of_data(options.data, dataset)
    return replace(options, dataset=dataset, target=target, preset=preset)


def _choose_target(path: str, console: Console) -> str:
    """Returns the column of a table to predict: by its name, else by asking on a terminal.

    Raises:
        TfloopError: neither is possible; the hint has the columns (exit code 2).
    """
    found = columns(path)
    likely = {name.strip().lower(): name for name in reversed(found)}
    if chosen := next((likely[name] for name in TARGETS if name in likely), None):
        console.note(f"target: `{chosen}`, by its name; `--target COLUMN` names another column")
        return chosen
    if not _is_terminal(console):
        raise unknown_target(path)
    return _ask(path, found, console)


def _is_terminal(console: Console) -> bool:
    return not (console.json or console.quiet) and sys.stdin.isatty() and console.stderr.isatty()


def _ask(path: str, found: list[str], console: Console) -> str:
    """Asks for one of the columns, by number or name, until the answer is one."""
    width = len(str(len(found)))
    console.info("\n".join([f"{path}:", *(f"  {number:>{width}}  {name}" for number, name in enumerate(found, 1))]))
    while True:
        console.stderr.write(f"Which column is to be predicted? [1-{len(found)}, or its name] ")
        console.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            raise unknown_target(path)
        answer = line.strip()
        if answer in found:
            return answer
        if answer.isdecimal() and 1 <= int(answer) <= len(found):
            return found[int(answer) - 1]
        console.info(f"there is no column `{answer}`")


def _with_relative_paths(resolved: Resolved, folder: Path) -> Resolved:
    """Returns the config with the paths of its dataset relative to the folder of the file, from which they count."""
    dataset = resolved.config.dataset
    declared = COMPONENT_KEYS["dataset"].declaration(dataset.name, dataset.arguments).parameters
    paths = {one.name for one in declared if Path in branches(one.annotation)}
    arguments = {
        name: os.path.relpath(value, folder.resolve()) if name in paths and isinstance(value, str) else value
        for name, value in dataset.arguments.items()
    }
    config = resolved.config.model_copy(update={"dataset": Component(dataset.name, arguments)})
    return replace(resolved, config=config)


def _head(preset: str, file: Path, options: Options) -> list[str]:
    """Returns the comment at the top of the file."""
    about = first_sentence(config_descriptions()[preset])
    lines = [f"yaml-language-server: $schema={SCHEMA}"] if options.schema else []
    return [
        *lines, f"tfloop train {short_path(file)}", "", about, f"Written by `tfloop init` {tfloop_cli.__version__}.",
        "`tfloop explain KEY` explains a key, `tfloop list model NAME` the arguments of a model.",
    ]  # fmt: skip


def _note_missing_data(resolved: Resolved, console: Console) -> None:
    path = resolved.config.dataset.arguments.get("path")
    if isinstance(path, str) and not Path(path).exists():
        console.note(
            f"the data is expected in `{short_path(Path(path))}` (key `dataset.path`), which does not exist yet"
        )
