"""Detects the encoding of a text file."""
# ruff: noqa: RUF001 (characters of other scripts)

import codecs
import re

SINGLE_BYTE = ("cp1252", "latin-1")
_MIN_BYTES, _MOSTLY, _SHOWN = 8, 0.6, 3
_LETTERS = {  # encoding -> its most frequent letters
    "cp932": "[ぁ-んァ-ヶー一-龠々、。]",
    "cp949": "[가-힣]",
    "gb18030": "[一-龠、。，：]",
    "big5": "[一-龠、。，：]",
    "cp1251": "[а-яё]",
    "koi8-r": "[а-яё]",
    "cp1253": "[α-ωά-ώ]",
    "cp1255": "[א-ת]",
    "cp1256": "[ء-ي]",
    "cp874": "[ก-๙]",
}
_WITH_ASCII = ("cp932", "big5")
_SIGNS = re.compile(  # of cp1252: one, beside a space that breaks no line or several times; punctuation
    rb"\xa0*([\x80\x89\x95\x99\xa2-\xbf\xd7\xf7])\1*\xa0*|[\x85\x8b\x91-\x97\x9b\xa0\xa1\xab\xbb\xbf]+"
)
_RUNS = (  # of bytes beyond ASCII: all, and those that are not beside letters of ASCII
    re.compile(rb"[\x80-\xff]{2,}"),
    re.compile(rb"(?<![a-zA-Z\x80-\xff])[\x80-\xff]{2,}(?![a-zA-Z\x80-\xff])"),
)


def find_encoding(sample: bytes, is_unicode: bool = False) -> str:
    """Returns "utf-8", "utf-16" or, if the bytes are not UTF-8, "cp1252" or "latin-1"; these not if `is_unicode`."""
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if is_unicode:
        return "utf-8"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # the last character may be incomplete
    except UnicodeDecodeError:
        return single_byte_encoding(sample)
    return "utf-8"


def single_byte_encoding(content: bytes) -> str:
    """Returns "cp1252" (Windows), which is Latin-1 with more printable characters, or "latin-1" if it has others."""
    return "latin-1" if re.search(rb"[\x81\x8d\x8f\x90\x9d]", content) else "cp1252"


def other_encodings(content: bytes) -> dict[str, str]:
    """Returns encodings of other scripts that suit a content which is not UTF-8, best first: name -> a text in it.

    In Western texts, bytes beyond ASCII stand alone, beside letters of ASCII, or are signs such as ° and €; in other
    scripts they follow each other. Only double-byte encodings of `_WITH_ASCII` have bytes of ASCII letters in their
    own. Nothing is returned for few bytes beyond ASCII, or if these mostly are as in Western texts.
    """
    beyond = len(re.findall(rb"[\x80-\xff]", content))
    together, apart = (sum(len(run) for run in runs.findall(content) if not _SIGNS.fullmatch(run)) for runs in _RUNS)
    if beyond < _MIN_BYTES or 2 * together <= beyond:
        return {}
    scores = {}
    for name in _LETTERS if 2 * apart > beyond else _WITH_ASCII:
        letters = _LETTERS[name]
        try:
            text = codecs.getincrementaldecoder(name)().decode(content)
        except UnicodeDecodeError:
            continue
        others = re.sub(r"[\x00-\x7f]+", "", text)
        scores[name] = (len(re.findall(letters, others)) / len(others), text)
    best = sorted((name for name in scores if scores[name][0] >= _MOSTLY), key=lambda name: -scores[name][0])
    return {name: ", ".join(re.findall(r"[^\x00-\x7f]+", scores[name][1])[:_SHOWN]) for name in best[:_SHOWN]}
