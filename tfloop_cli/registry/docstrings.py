"""Google-style docstrings: the summary, and the description of each argument."""

import re

_ENTRY = re.compile(r"(\w+)(?:\s*\([^)]*\))?:(?:\s+(.*))?$")
_FIRST_SENTENCE = re.compile(r".*?[.](?=\s+[A-Z`]|$)")  # does not end at "et al. 2015"


def first_sentence(text: str) -> str:
    """Returns the first sentence of the first paragraph, on one line."""
    paragraph = " ".join(text.strip().partition("\n\n")[0].split())
    match = _FIRST_SENTENCE.match(paragraph)
    return match[0] if match else paragraph


def argument_descriptions(doc: str) -> dict[str, str]:
    """Returns the entries of the section `Args:` of a docstring without indentation: name -> text on one line."""
    lines = doc.expandtabs().splitlines()
    start = next((number for number, line in enumerate(lines) if line.strip() == "Args:"), None)
    if start is None:
        return {}
    found: dict[str, list[str]] = {}
    section = _indent(lines[start])
    entry_indent, current = None, None
    for line in lines[start + 1 :]:
        if not line.strip():
            continue
        if _indent(line) <= section:
            break
        entry_indent = _indent(line) if entry_indent is None else entry_indent
        if _indent(line) == entry_indent:
            match = _ENTRY.match(line.strip())
            current = match[1] if match else None
            if match:
                found[match[1]] = [match[2] or ""]
        elif current is not None:
            found[current].append(line.strip())
    return {name: " ".join(" ".join(parts).split()) for name, parts in found.items()}


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
