"""`tfloop completion`: shell completion scripts, and the candidates that they offer."""

import os
from collections.abc import Iterable
from pathlib import Path

from typer.completion import completion_init, get_completion_script  # type: ignore[attr-defined]

from tfloop_cli.config.keys import all_paths
from tfloop_cli.config.precedence import shipped_names
from tfloop_cli.config.suggestions import COMPONENT_KEYS, LISTS, nearest
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.export_formats import NEEDS
from tfloop_cli.runs.folder import list_runs

SHELLS = ("bash", "zsh", "fish", "powershell")
VARIABLE = "_TFLOOP_COMPLETE"  # set by the scripts when they request candidates
# Typer's script for bash does not complete values after `KEY=`: bash regards "=" as the end of a word.
BASH = f"""\
_tfloop_completion() {{
    local IFS=$'\\n' line="${{COMP_LINE:0:COMP_POINT}}" words
    read -r -d '' -a words < <(tr -s ' ' '\\n' <<< "$line"; printf '\\0')
    [[ $line == *' ' ]] && words+=('')
    local word="${{words[-1]}}"
    COMPREPLY=( $(COMP_WORDS="${{words[*]}}" COMP_CWORD=$((${{#words[@]}} - 1)) {VARIABLE}=complete_bash "$1") )
    [[ $word == *=* ]] && COMPREPLY=("${{COMPREPLY[@]#"${{word%=*}}="}}")
    [[ ${{COMPREPLY[0]:-}} == *[=/] ]] && compopt -o nospace
    return 0
}}
complete -o default -F _tfloop_completion tfloop
"""


def script(shell: str) -> str:
    """Returns the completion script for a shell.

    Raises:
        TfloopError: the shell is not supported (exit code 2).
    """
    if shell not in SHELLS:
        raise TfloopError(f"unknown shell `{shell}`", hint=nearest(shell, SHELLS, "supported:"))
    if shell == "bash":
        return BASH
    return get_completion_script(prog_name="tfloop", complete_var=VARIABLE, shell=shell)


def prepare() -> None:
    """Registers Typer's shells, if a completion script has started this process."""
    if VARIABLE in os.environ:
        completion_init()


def configs(incomplete: str) -> list[str]:
    """Returns built-in configs, and YAML files and folders on disk."""
    folder = Path(incomplete).parent if not incomplete.endswith("/") else Path(incomplete)
    files = []
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        if path.is_dir() and not path.name.startswith("."):
            files.append(f"{path}/")
        elif path.suffix in (".yaml", ".yml"):
            files.append(str(path))
    return _matching([f"{name}.yaml" for name in shipped_names()] + files, incomplete)


def runs(incomplete: str) -> list[str]:
    """Returns `last` and the names of the runs in `runs/`, newest first."""
    return _matching(["last", *(run.path.name for run in list_runs(Path("runs")))], incomplete)


def kinds(incomplete: str) -> list[str]:
    """Returns the kinds of `tfloop list`."""
    return _matching([*(registry.plural for registry in COMPONENT_KEYS.values()), "configs"], incomplete)


def trackers(incomplete: str) -> list[str]:
    """Returns the names of trackers."""
    return _matching(COMPONENT_KEYS["tracking"].names(), incomplete)


def components(incomplete: str, kind: str | None = None) -> list[str]:
    """Returns the names of a kind of `tfloop list`, plural or singular; of all kinds without it."""
    names = {registry.plural: registry.names() for registry in COMPONENT_KEYS.values()} | {"configs": shipped_names()}
    chosen = [found for plural, found in names.items() if kind in (None, plural, plural.removesuffix("s"))]
    return _matching(sorted({name for found in chosen for name in found}), incomplete)


def assignments(incomplete: str) -> list[str]:
    """Returns KEY= for every config key; after `KEY=` of a component, its registered names."""
    key, equals, _ = incomplete.partition("=")
    if equals:
        registry = COMPONENT_KEYS.get(key)
        return _matching([f"{key}={name}" for name in registry.names()] if registry else [], incomplete)
    return _matching([f"{key}=" for key in keys("")], incomplete)


def keys(incomplete: str) -> list[str]:
    """Returns the dotted names of all config keys that can be set, with the arguments of all components."""
    lists = tuple(f"{key}." for key in LISTS)
    return _matching((path for path in all_paths() if not path.startswith(lists)), incomplete)


def explained(incomplete: str) -> list[str]:
    """Returns what `tfloop explain` explains: keys and, after a digit, exit codes."""
    return _matching([*all_paths(), *(str(int(code)) for code in ExitCode)], incomplete)


def devices(incomplete: str) -> list[str]:
    """Returns the values of `--device`."""
    return _matching(["auto", "cpu", "gpu", "gpu:0"], incomplete)


def splits(incomplete: str) -> list[str]:
    """Returns the usual names of splits."""
    return _matching(["test", "validation", "train"], incomplete)


def formats(incomplete: str) -> list[str]:
    """Returns the values of `tfloop export --format`."""
    return _matching(NEEDS, incomplete)


def _matching(candidates: Iterable[str], incomplete: str) -> list[str]:
    return [one for one in candidates if one.startswith(incomplete)]
