"""The documentation: generated pages are current, links resolve, commands and keys are complete, named files exist."""

import dataclasses
import importlib.util
import io
import itertools
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from tfloop_cli import cli
from tfloop_cli.config.loading import load
from tfloop_cli.config.on_resume import policies
from tfloop_cli.config.schema import Config
from tfloop_cli.config.suggestions import nested_fields
from tfloop_cli.data_summary import DataSummary, Finding, InputSummary, SplitSummary
from tfloop_cli.errors import ExitCode, Problem
from tfloop_cli.events import EpochDone, Evaluated, RunEnded, RunStarted
from tfloop_cli.registry import REGISTRIES
from tfloop_cli.runs import metadata
from tfloop_cli.runs.documents import data_document, document
from tfloop_cli.terminal.scores import ClassScore, Confusion

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GENERATED = ("config.md", "commands.md")
PAGES = {page.name: page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]}
SITE = sorted(set(PAGES) - {"README.md"})
# Former words of the project, which readers had to learn first.
REPLACED_WORDS = (
    "addresses", "as it comes", "befell", "bit for bit", "busy hour", "contender", "deaf", "horizon", "hush",
    "left out", "lest", "likeliest", "lively", "made-up", "mended", "passed over", "peers", "pictures", "rooms?",
    "ruled out", "spoiled", "taken back", "tutorial's net", "turned round", "unbroken", "word vectors",
)  # fmt: skip


def without_code(text: str) -> str:
    """Returns a page without fenced blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)


def blocks(page: str, language: str) -> list[str]:
    """Returns the fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE)


def headings(page: str) -> list[str]:
    return re.findall(r"^#+ (.*)$", without_code(PAGES[page]), re.MULTILINE)


def anchor(heading: str) -> str:
    """Returns the anchor of a heading, as code hosts and the site make it."""
    return re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-"))


def section(page: str, heading: str) -> str:
    """Returns the text below a heading, up to the next one."""
    _, _, rest = PAGES[page].partition(f"# {heading}\n")
    assert rest, f"{page} has no heading `{heading}`"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


# The generated pages


def run_generator(docs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(docs / "generate.py"), *arguments]
    return subprocess.run(command, cwd=docs, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT)})


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_current() -> None:
    done = run_generator(DOCS, "--check")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", GENERATED)
def test_check_fails_for_an_outdated_page(page: str, tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    (tmp_path / "docs" / page).write_text(PAGES[page].replace("train", "trian", 1))
    done = run_generator(tmp_path / "docs", "--check")
    assert done.returncode == 1
    assert f"docs/{page} is not current" in done.stderr
    assert run_generator(tmp_path / "docs").returncode == 0
    assert run_generator(tmp_path / "docs", "--check").returncode == 0


def test_generator_does_not_load_tensorflow() -> None:
    code = "import generate, sys; generate.pages(); print({'tensorflow', 'keras'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=DOCS, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("page", GENERATED)
def test_generated_page_does_not_depend_on_the_machine(page: str) -> None:
    for text in (str(ROOT), str(Path.home()), "site-packages", sys.prefix):
        assert text == "/" or text not in PAGES[page]


def test_another_keras_version_does_not_make_a_page_outdated(generator: ModuleType) -> None:
    page = PAGES["config.md"]
    match = generator.KERAS.search(page)
    older = page.replace(match[0], f"<!-- Keras 3.0 -->\n\n{match[0].splitlines()[2]}\n\n<!-- end -->\n")
    assert generator.with_keras_of(page, older) == older
    assert generator.with_keras_of(page, page.replace("| `adam` |", "| `adm` |")) == page


# Pages and links


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page: str) -> None:
    folder = ROOT if page == "README.md" else DOCS
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(PAGES[page])):
        if target.startswith("https://"):
            continue
        path, _, fragment = target.partition("#")
        file = folder / path if path else folder / page
        assert file.exists(), f"{page}: {target}"
        assert not fragment or fragment in map(anchor, headings(file.name)), f"{page}: {target}"


@pytest.mark.parametrize("page", SITE)
def test_page_links_only_to_pages_of_the_site(page: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", without_code(PAGES[page]))
    assert [link for link in links if link.startswith(("../", "/"))] == []


@pytest.mark.parametrize("page", SITE)
def test_headings_have_the_same_anchor_on_code_hosts_and_the_site(page: str) -> None:
    anchors = list(map(anchor, headings(page)))
    assert len(set(anchors)) == len(anchors)  # repeated headings are numbered in different ways
    assert [heading for heading in headings(page) if re.search(r"[^\w `.-]|^-|--", heading)] == []


@pytest.mark.parametrize("page", SITE)
def test_lists_and_tables_begin_after_a_blank_line(page: str) -> None:
    """The site generator joins them with a paragraph or a code block otherwise; code hosts do not."""
    lines = re.sub(r"^ *```.*?^ *```$", "code", PAGES[page], flags=re.DOTALL | re.MULTILINE).splitlines()
    for before, line in itertools.pairwise(lines):
        if re.match(r"- |\d+\. ", line):
            assert re.match(r"$|#|- |\d+\. |  ", before), line
        if line.startswith("|"):
            assert re.match(r"$|#|\|", before), line


def test_every_page_is_in_the_navigation() -> None:
    def files(entries: list[dict[str, Any]]) -> Iterator[str]:
        for entry in entries:
            for value in entry.values():
                yield from [value] if isinstance(value, str) else files(value)

    project = tomllib.loads((DOCS / "zensical.toml").read_text(encoding="utf-8"))["project"]
    assert sorted(files(project["nav"])) == SITE
    assert project["theme"]["font"] is False


def test_index_links_to_every_page() -> None:
    assert {page for page in SITE if f"]({page}" in PAGES["index.md"]} == set(SITE) - {"index.md"}


def test_no_line_of_the_readme_is_long() -> None:
    assert max(map(len, PAGES["README.md"].splitlines())) <= 120


@pytest.mark.parametrize("page", PAGES)
def test_replaced_words_do_not_occur(page: str) -> None:
    assert re.findall(rf"(?i)\b(?:{'|'.join(REPLACED_WORDS)})\b", PAGES[page]) == []


# Commands


COMMAND = typer.main.get_command(cli.app)


def commands(name: str, command: Any) -> dict[str, Any]:
    """Returns every command in a group by its full name: "tfloop config show"."""
    if not hasattr(command, "commands"):
        return {name: command}
    parts = [commands(f"{name} {part}", inside) for part, inside in command.commands.items()]
    return {full: one for part in parts for full, one in part.items()}


COMMANDS = commands("tfloop", COMMAND)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_a_section_with_every_option(name: str) -> None:
    text = section("commands.md", name)
    description, examples, _ = COMMANDS[name].help.partition("\n\n\b\n")
    assert examples, f"{name}: `--help` has no examples"
    assert description in text.replace("\\", "")  # the page has other examples
    for parameter in COMMANDS[name].params:
        assert parameter.help, f"{name}: {parameter.name} has no description"
        assert parameter.help in text.replace("\\", "")
        if parameter.param_type_name == "option":
            assert all(option in text for option in [*parameter.opts, *parameter.secondary_opts])


def test_every_exit_code_is_documented() -> None:
    codes = re.findall(r"^\| (\d+) \| .", section("commands.md", "Exit codes"), re.MULTILINE)
    assert set(map(int, ExitCode)) <= set(map(int, codes))


def tfloop_lines() -> Iterator[tuple[str, str, list[str]]]:
    """Yields the page, the line and the words of every `tfloop` command in the shell blocks of all pages."""
    for page in PAGES:
        for line in "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;()<>")
            lexer.whitespace_split = True
            part: list[str] = []
            for word in [*lexer, ";"]:
                if not set(word) <= set("|&;()<>"):
                    part.append(word)
                    continue
                while part and (part[0] in ("srun", "if", "!") or re.match(r"\w+=", part[0])):
                    part.pop(0)
                if part[:1] == ["tfloop"]:
                    yield page, line, part
                part = []


LINES = list(tfloop_lines())


@pytest.mark.parametrize("words", [words for *_, words in LINES], ids=[f"{page}: {line}" for page, line, _ in LINES])
def test_command_line_parses(words: list[str]) -> None:
    """Options and arguments exist; the command does not run."""
    command, arguments, name = COMMAND, words[1:], "tfloop"
    while hasattr(command, "commands") and not arguments[0].startswith("-"):
        name = f"{name} {arguments[0]}"
        command = command.commands[arguments.pop(0)]
    try:
        command.make_context(name, arguments)
    except typer.Exit:  # of --help
        pass


def test_command_lines_are_found() -> None:
    assert {page for page, *_ in LINES} >= {"README.md", "commands.md", "run-folder-and-json.md"}
    assert any(words == ["tfloop", "config", "schema"] for *_, words in LINES)  # before a redirection


def test_unknown_option_does_not_parse() -> None:
    with pytest.raises(Exception, match="No such option: --lr"):
        test_command_line_parses(["tfloop", "train", "mnist.yaml", "--lr", "1"])


# Config keys and components


def test_every_config_key_is_documented() -> None:
    for key, field in Config.model_fields.items():
        for path in [key, *(f"{key}.{inner}" for inner in nested_fields(field.annotation))]:
            row = re.search(
                rf"^\| `{re.escape(path)}` \| [^|]+ \| [^|]+ \| ([^|]+) \| ([^|]+) \|$",
                PAGES["config.md"],
                re.MULTILINE,
            )
            assert row, path
            assert row[1].strip(), f"{path} has no description"
            assert row[2] == policies()[path]


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_component_is_documented(kind: str) -> None:
    page = PAGES["config.md"].partition(f"\n## {kind.capitalize()}\n")[2].partition("\n## ")[0]
    for declaration in REGISTRIES[kind].declarations():
        if declaration.module.startswith("keras."):  # see the next test
            continue
        text = page.partition(f"\n### `{declaration.name}`\n")[2].partition("\n### ")[0]
        assert declaration.summary in text.replace("\\", ""), declaration.name
        for one in declaration.parameters:
            assert one.description, f"{declaration.name}.{one.name} has no description"
            assert f"| `{one.name}` | {one.type_description} |" in text


def test_keras_optimizers_are_documented_with_their_defaults() -> None:
    """Which ones there are depends on the version of Keras; see `test_another_keras_version_...`."""
    rows = re.findall(r"^\| `(\w+)` \| (`learning_rate: .*`) \|$", PAGES["config.md"], re.MULTILINE)
    assert {"adam", "adamw", "sgd", "rmsprop"} <= dict(rows).keys()
    assert "`momentum: 0.0`" in dict(rows)["sgd"]


@pytest.mark.parametrize(
    "word",
    [
        "custom training loop", "data augmentation", "early stopping", "EMA", "GPU", "gradient accumulation",
        "gradient clipping", "learning rate schedule", "mixed precision", "reproducibility",
    ],
)  # fmt: skip
def test_common_word_is_found(word: str) -> None:
    assert word in PAGES["config.md"]
    assert re.search(rf"\b{word}s?\b", PAGES["index.md"].replace("\n", " "))


@pytest.mark.parametrize("page", PAGES)
def test_complete_yaml_examples_are_valid(page: str) -> None:
    for block in blocks(page, "yaml"):
        keys = re.findall(r"^(\w+):", block, re.MULTILINE)
        if {"dataset", "model"} <= set(keys) or "extends" in keys:
            load(["-"], stdin=io.StringIO(block))


# Run folder and JSON


def keys_in(heading: str) -> set[str]:
    """Returns the keys in the table below a heading of the page."""
    rows = re.findall(r"^\| (`.*?) \| (.*) \|$", section("run-folder-and-json.md", heading), re.MULTILINE)
    return {key for row in rows for cell in row for key in re.findall(r"`(\w+)`", cell)}


EVENTS = {
    "start": RunStarted(
        run="", step=0, config={}, epochs=1, steps_per_epoch=1, examples_per_epoch=1, metrics=(),
        skipped_examples={"train": 1},
    ),
    "epoch": EpochDone(1, 1, {}, {}, 1.0, 1.0, 1.0, retraces=1, skipped_batches=1, learning_rate=0.1),
    "evaluation": Evaluated("test", 1, {}, ""),
    "end": RunEnded("completed", "", "", "", 1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", EVENTS)
def test_json_document_has_its_keys_documented(name: str) -> None:
    found = document(EVENTS[name])
    assert found["event"] == name
    assert set(found) <= keys_in(name)


def test_json_document_of_data_has_its_keys_documented() -> None:
    found = data_document(
        DataSummary("", "", (SplitSummary("", 1),), (InputSummary("", (), ""),), findings=(Finding("", ""),))
    )
    assert found["event"] == "data"
    inner = [set(found[name][0]) for name in ("splits", "inputs", "findings")]
    assert set(found).union(*inner) <= keys_in("data")


def test_scores_and_errors_have_their_keys_documented() -> None:
    names = {field.name for kind in (ClassScore, Confusion) for field in dataclasses.fields(kind)}
    assert names | {"classes", "confused"} <= keys_in("evaluation")
    assert {field.name for field in dataclasses.fields(Problem)} | {"code", "errors"} <= keys_in("error")


def test_metadata_keys_are_documented() -> None:
    facts = {"run_id", "device", "threads", "data", "total_steps", "code", "name_prefix", "resumed"}
    facts |= {"train_examples", "held_out_examples", "held_out", "schedule", "best_metric", "early_stopping_metric"}
    assert set(metadata.gather({})) | facts <= keys_in("meta.json")


# Files


@pytest.mark.parametrize("page", PAGES)
def test_named_source_files_exist(page: str) -> None:
    for name in re.findall(r"(?<![\w/])(?:\w+/)+\w+\.py", PAGES[page]):
        assert (ROOT / name).is_file() or (ROOT / "tfloop_cli" / name).is_file(), name


def test_architecture_answers_questions_with_existing_files() -> None:
    rows = re.findall(r"^\| (.*\?) \| (.*) \|$", section("architecture.md", "Where to find what"), re.MULTILINE)
    assert len(rows) >= 15
    for question, answer in rows:
        for name in re.findall(r"`([\w/]+(?:\.py|/))`", answer):
            assert (ROOT / "tfloop_cli" / name).exists(), question


def test_architecture_has_every_package() -> None:
    text = section("architecture.md", "Packages")
    for path in (ROOT / "tfloop_cli").iterdir():
        if path.name not in ("__init__.py", "__pycache__", "assets"):
            name = f"{path.name}/" if path.is_dir() else path.name if f"`{path.name}" in text else path.stem
            assert f"`{name}" in text, name


def test_benchmark_tables_have_one_number_per_cell() -> None:
    for row in re.findall(r"^\| (.*) \|$", PAGES["benchmarks.md"], re.MULTILINE):
        for cell in map(str.strip, row.split("|")):
            if re.search(r"\d", cell) and not re.search(r"[A-Za-z]", cell):
                assert re.fullmatch(r"[+-]?\d[\d,.:]*%?", cell), row
