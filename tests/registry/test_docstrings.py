"""Docstrings: the first sentence, and the descriptions of arguments."""

import pytest

from tfloop_cli.registry.docstrings import argument_descriptions, first_sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("A model.", "A model."),
        ("A model. More.", "A model."),
        ("A model\nof two lines. More.", "A model of two lines."),
        ("A model.\n\nA second paragraph.", "A model."),
        ("A model without a point", "A model without a point"),
        ("A residual net (He et al. 2015), small. More.", "A residual net (He et al. 2015), small."),
        ("A rate of 0.5 per step. `alpha` follows.", "A rate of 0.5 per step."),
        ("Version 1.2. of it", "Version 1.2. of it"),
        ("\n  Indented.\n", "Indented."),
        ("", ""),
    ],
)
def test_first_sentence(text: str, sentence: str) -> None:
    assert first_sentence(text) == sentence


def test_descriptions_are_read_without_indentation_on_one_line() -> None:
    doc = """Builds a model.

    Args:
        spec: shape of the data: images.
        filters: number of filters
            of each convolution.

            A second paragraph.
        rate (float): has a type.
        empty:
            starts on the next line.

    Returns:
        model: not an argument.
    """
    assert argument_descriptions(doc) == {
        "spec": "shape of the data: images.",
        "filters": "number of filters of each convolution. A second paragraph.",
        "rate": "has a type.",
        "empty": "starts on the next line.",
    }


@pytest.mark.parametrize("doc", ["", "A model.", "Args:", "Args: not a section.\n    x: y.\n"])
def test_no_descriptions_without_section(doc: str) -> None:
    assert argument_descriptions(doc) == {}


def test_section_ends_at_smaller_indentation() -> None:
    assert argument_descriptions("Args:\n    x: one.\n    y: two.\nz: not an argument.\n") == {"x": "one.", "y": "two."}


def test_text_that_is_no_entry_is_ignored() -> None:
    doc = (
        "Args:\n    x: one.\n    {placeholder of a template}\n        more of it.\n    **kwargs: others.\n    y: two.\n"
    )
    assert argument_descriptions(doc) == {"x": "one.", "y": "two."}
