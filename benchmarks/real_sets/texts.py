"""Real short texts out of packages: each function returns texts with a class or a number each, as they come.

They need `pip install babel django emoji faker names stopwordsiso vaderSentiment` and the packages of the tables. To
add one, write a function with the decorator; its name is the name of the set.
"""

import ast
import functools
import gettext
import importlib.util
import json
import random
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import django
import stopwordsiso
from babel import Locale
from faker.factory import Factory
from vaderSentiment import vaderSentiment

Rows = list[tuple[str, str | float]]  # text, and its class or number
TEXTS: dict[str, Callable[[], Rows]] = {}
LANGUAGES = "en,de,fr,es,it,pt,nl,sv,pl,cs,fi,tr,ru,uk,el,ar,fa,hi,bn,ta,th,zh,ja,ko,vi"
RELATED_LANGUAGES = "ast,ca,es,gl,it,pt,pt_BR,ro,fr,da,nb,sv,nl,af,de,bg,mk,ru,sr,uk"


def _add(function: Callable[[], Rows]) -> Callable[[], Rows]:
    TEXTS[function.__name__] = function
    return function


def _sample(texts: list[str], count: int) -> list[str]:
    return random.Random(0).sample(sorted(set(texts)), min(count, len(set(texts))))


def _kinds_of_names(language: str) -> Rows:
    """Names of five kinds in one language."""
    locale = Locale.parse(language)
    groups = {"territory": locale.territories, "language": locale.languages, "currency": locale.currencies}
    rows: Rows = [
        (name, kind) for kind, names in (groups | {"script": locale.scripts}).items() for name in names.values()
    ]
    return rows + [(zone["city"], "city") for zone in locale.time_zones.values() if "city" in zone]


for _language in ("en", "zh", "ja", "th", "hi"):
    TEXTS[f"kinds_of_names_{_language}"] = functools.partial(_kinds_of_names, _language)


@_add
def language_of_names() -> Rows:
    """Names of territories and languages, with the language that they are written in."""
    rows: Rows = []
    for language in LANGUAGES.split(","):
        locale = Locale.parse(language)
        names = [*locale.territories.values(), *locale.languages.values()]
        rows += [(name, language) for name in _sample(names, 150)]
    return rows


@_add
def language_of_emoji() -> Rows:
    """Names of emoji, with their language."""
    rows: Rows = []
    for language in ["ar", "de", "es", "fa", "fr", "id", "it", "ja", "ko", "pt", "ru", "tr", "zh"]:
        file = resources.files("emoji") / "unicode_codes" / f"emoji_{language}.json"
        found = json.loads(file.read_text(encoding="utf-8")).values()
        names = [name if isinstance(name, str) else next(iter(name.values()), "") for name in found]
        rows += [(name.strip(":").replace("_", " "), language) for name in _sample(names, 200)]
    return rows


@_add
def gender_of_names() -> Rows:
    """Given names of one gender, with the gender."""
    genders = {
        gender: {line.split()[0].title() for line in (resources.files("names") / file).read_text().splitlines() if line}
        for gender, file in (("female", "dist.female.first"), ("male", "dist.male.first"))
    }
    both = genders["female"] & genders["male"]
    return [(name, gender) for gender, names in genders.items() for name in names - both]


@_add
def country_of_surnames() -> Rows:
    """Surnames, with the country and language that they are from."""
    rows: Rows = []
    for locale in ["cs_CZ", "de_DE", "en_US", "es_ES", "fi_FI", "fr_FR", "hu_HU", "it_IT", "nl_NL", "pl_PL", "tr_TR"]:
        provider, *_ = Factory._find_provider_class("faker.providers.person", locale)
        names = provider.last_names
        rows += [(name, locale) for name in _sample(list(names), 300)]
    return rows


def _messages(language: str) -> dict[str, str]:
    """Returns the messages of Django, and how they are translated."""
    found: dict[str, str] = {}
    for file in sorted(Path(django.__file__).parent.rglob(f"{language}/LC_MESSAGES/django.mo")):
        catalog = gettext.GNUTranslations(file.open("rb"))._catalog
        found |= {key: text for key, text in catalog.items() if isinstance(key, str) and key and text}
    return found


@_add
def language_of_messages() -> Rows:
    """Messages of Django in related languages."""
    languages = RELATED_LANGUAGES.split(",")
    return [(text, language) for language in languages for text in _sample(list(_messages(language).values()), 150)]


@_add
def part_of_django() -> Rows:
    """German messages of Django, with the application that they belong to."""
    rows: Rows = []
    for file in sorted(Path(django.__file__).parent.rglob("de/LC_MESSAGES/django.mo")):
        part = file.parents[3].name
        catalog = gettext.GNUTranslations(file.open("rb"))._catalog
        texts = [text for key, text in catalog.items() if key and text]
        rows += [(text, part) for text in texts] if len(texts) >= 40 else []
    return rows


def _docstrings(package: str) -> Iterator[str]:
    """Yields the first sentence of each documented function and class of a package."""
    spec = importlib.util.find_spec(package)
    for folder in spec.submodule_search_locations or []:
        for file in sorted(Path(folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_bytes())):
                is_definition = isinstance(node, ast.FunctionDef | ast.ClassDef)
                if is_definition and (text := ast.get_docstring(node)):
                    yield " ".join(text.split("\n\n")[0].split())[:300]


@_add
def package_of_docstrings() -> Rows:
    """First sentences of docstrings, with their package."""
    packages = ["django", "matplotlib", "numpy", "pandas", "plotnine", "scipy", "sklearn", "statsmodels"]
    return [(text, package) for package in packages for text in _sample(list(_docstrings(package)), 400)]


@_add
def language_of_stop_words() -> Rows:
    """Frequent words, with their language."""
    languages = ["cs", "da", "de", "en", "es", "fi", "fr", "hu", "it", "nl", "pl", "pt", "ro", "sv", "tr"]
    return [(word, language) for language in languages for word in _sample(list(stopwordsiso.stopwords(language)), 150)]


@_add
def sentiment_of_words() -> Rows:
    """Words and emoticons, with how positive people find them: numbers from -4 to 4."""
    lines = (Path(vaderSentiment.__file__).parent / "vader_lexicon.txt").read_text(encoding="utf-8").splitlines()
    return [(cells[0], float(cells[1])) for line in lines if len(cells := line.split("\t")) > 1]
