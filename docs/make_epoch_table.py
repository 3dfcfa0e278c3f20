"""Makes the picture of the README, docs/epoch-table.svg, from a real training run.

    python docs/make_epoch_table.py

The run is a process on a pseudo-terminal. Rich converts its output to SVG; external fonts are removed.
"""

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

COMMAND = "tfloop train mnist.yaml"
COLUMNS = 80
SVG = Path(__file__).with_name("epoch-table.svg")


def record(folder: str) -> str:
    """Runs the command without the progress bar, which would be overwritten anyway; returns what it printed."""
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (60, COLUMNS))
    hidden = ("CI", "NO_COLOR")
    environment = {key: value for key, value in os.environ.items() if key not in hidden} | {"TERM": "xterm-256color"}
    arguments = [sys.executable, "-m", "tfloop_cli", *COMMAND.split()[1:], "--no-progress"]
    process = subprocess.Popen(arguments, stdout=terminal, stderr=terminal, cwd=folder, env=environment)
    os.close(terminal)
    output = b""
    try:
        while data := os.read(screen, 65536):
            output += data
    except OSError:  # Linux reports the end of the process as an error
        pass
    if process.wait():
        raise SystemExit(output.decode())
    return output.decode()


def main() -> None:
    """Records a run and writes the SVG."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [
            line.rpartition("\r")[2].rpartition("\x1b[K")[2]
            for line in record(folder).replace("\r\n", "\n").split("\n")
        ]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines).strip("\n"))
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.assemble(("$ ", "bold green"), COMMAND))
    console.print(Text.from_ansi(text))
    template = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    svg = console.export_svg(title="tfloop", code_format=template)
    assert "http" not in svg.replace('xmlns="http://www.w3.org/2000/svg"', "").replace("https://www.textualize.io", "")
    SVG.write_text(svg, encoding="utf-8")
    print(f"{SVG}: {len(svg) // 1024} KiB")


if __name__ == "__main__":
    main()
