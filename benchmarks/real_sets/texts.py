"""Real short texts, beside TF-IDF with a linear model of scikit-learn on the same rows.

The baselines are TF-IDF of words, and of 1 to 4 characters, each with logistic regression (C = 10), or with ridge
regression for numbers.
"""

import ast
import csv
import gettext
import importlib.util
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TypeVar

import django
import numpy as np
import stopwordsiso
from babel import Locale
from faker.factory import Factory
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from vaderSentiment import vaderSentiment

from real_sets import RealSet, WriteSet

Rows = list[tuple[str, str | float]]  # text, and its class or number
MAX_ROWS = 4000
CONFIG = """\
extends: text.yaml
dataset: {name: text, train: texts.csv}
"""
LANGUAGES = "en,de,fr,es,it,pt,nl,sv,pl,cs,fi,tr,ru,uk,el,ar,fa,hi,bn,ta,th,zh,ja,ko,vi"
RELATED_LANGUAGES = "ast,ca,es,gl,it,pt,pt_BR,ro,fr,da,nb,sv,nl,af,de,bg,mk,ru,sr,uk"


Value = TypeVar("Value")


def sample(values: Iterable[Value], count: int) -> list[Value]:
    """Returns at most so many distinct values, always the same ones."""
    values = sorted(set(values))
    return random.Random(0).sample(values, min(count, len(values)))


def kinds_of_names(language: str) -> Rows:
    """Returns names of five kinds in one language."""
    locale = Locale.parse(language)
    groups = {"territory": locale.territories, "language": locale.languages, "currency": locale.currencies}
    rows: Rows = [
        (name, kind) for kind, names in (groups | {"script": locale.scripts}).items() for name in names.values()
    ]
    return rows + [(zone["city"], "city") for zone in locale.time_zones.values() if "city" in zone]


def language_of_names() -> Rows:
    """Names of territories and languages, with the language that they are written in."""
    rows: Rows = []
    for language in LANGUAGES.split(","):
        locale = Locale.parse(language)
        names = [*locale.territories.values(), *locale.languages.values()]
        rows += [(name, language) for name in sample(names, 150)]
    return rows


def language_of_emoji() -> Rows:
    """Names of emoji, with their language."""
    rows: Rows = []
    for language in ["ar", "de", "es", "fa", "fr", "id", "it", "ja", "ko", "pt", "ru", "tr", "zh"]:
        file = resources.files("emoji") / "unicode_codes" / f"emoji_{language}.json"
        found = json.loads(file.read_text(encoding="utf-8")).values()
        names = [name if isinstance(name, str) else next(iter(name.values()), "") for name in found]
        rows += [(name.strip(":").replace("_", " "), language) for name in sample(names, 200)]
    return rows


def gender_of_names() -> Rows:
    """Given names of one gender, with the gender."""
    genders = {
        gender: {line.split()[0].title() for line in (resources.files("names") / file).read_text().splitlines() if line}
        for gender, file in (("female", "dist.female.first"), ("male", "dist.male.first"))
    }
    both = genders["female"] & genders["male"]
    return [(name, gender) for gender, names in genders.items() for name in names - both]


def country_of_surnames() -> Rows:
    """Surnames, with the country and language that they are from."""
    rows: Rows = []
    for locale in ["cs_CZ", "de_DE", "en_US", "es_ES", "fi_FI", "fr_FR", "hu_HU", "it_IT", "nl_NL", "pl_PL", "tr_TR"]:
        provider, *_ = Factory._find_provider_class("faker.providers.person", locale)
        names = provider.last_names
        rows += [(name, locale) for name in sample(list(names), 300)]
    return rows


def messages(language: str) -> dict[str, str]:
    """Returns the messages of Django, and how they are translated."""
    found: dict[str, str] = {}
    for file in sorted(Path(django.__file__).parent.rglob(f"{language}/LC_MESSAGES/django.mo")):
        catalog = gettext.GNUTranslations(file.open("rb"))._catalog
        found |= {key: text for key, text in catalog.items() if isinstance(key, str) and key and text}
    return found


def language_of_messages() -> Rows:
    """Messages of Django in related languages."""
    languages = RELATED_LANGUAGES.split(",")
    return [(text, language) for language in languages for text in sample(list(messages(language).values()), 150)]


def part_of_django() -> Rows:
    """German messages of Django, with the application that they belong to."""
    rows: Rows = []
    for file in sorted(Path(django.__file__).parent.rglob("de/LC_MESSAGES/django.mo")):
        part = file.parents[3].name
        catalog = gettext.GNUTranslations(file.open("rb"))._catalog
        texts = [text for key, text in catalog.items() if key and text]
        rows += [(text, part) for text in texts] if len(texts) >= 40 else []
    return rows


def docstrings(package: str) -> Iterator[str]:
    """Yields the first sentence of each documented function and class of a package."""
    spec = importlib.util.find_spec(package)
    for folder in spec.submodule_search_locations or []:
        for file in sorted(Path(folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_bytes())):
                is_definition = isinstance(node, ast.FunctionDef | ast.ClassDef)
                if is_definition and (text := ast.get_docstring(node)):
                    yield " ".join(text.split("\n\n")[0].split())[:300]


def package_of_docstrings() -> Rows:
    """First sentences of docstrings, with their package."""
    packages = ["django", "matplotlib", "numpy", "pandas", "plotnine", "scipy", "sklearn", "statsmodels"]
    return [(text, package) for package in packages for text in sample(list(docstrings(package)), 400)]


def language_of_stop_words() -> Rows:
    """Frequent words, with their language."""
    languages = ["cs", "da", "de", "en", "es", "fi", "fr", "hu", "it", "nl", "pl", "pt", "ro", "sv", "tr"]
    return [(word, language) for language in languages for word in sample(list(stopwordsiso.stopwords(language)), 150)]


def sentiment_of_words() -> Rows:
    """Words and emoticons, with how positive people find them: numbers from -4 to 4."""
    lines = (Path(vaderSentiment.__file__).parent / "vader_lexicon.txt").read_text(encoding="utf-8").splitlines()
    return [(cells[0], float(cells[1])) for line in lines if len(cells := line.split("\t")) > 1]


def write(load: Callable[[], Rows], folder: Path) -> RealSet:
    """Writes at most `MAX_ROWS` distinct rows."""
    rows = sample(load(), MAX_ROWS)
    with (folder / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "target"), *rows])
    texts, targets = map(np.array, zip(*rows, strict=True))
    return RealSet(CONFIG, targets, partial(baselines, texts, targets))


def baselines(
    texts: np.ndarray, targets: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int
) -> Mapping[str, np.ndarray]:
    """Returns the predictions for the test rows; see `RealSet`. The models do not depend on the seed."""
    vectorizers = {"words": TfidfVectorizer(), "characters": TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4))}
    found = {}
    for name, vectorizer in vectorizers.items():
        features = vectorizer.fit_transform(texts[train])
        model = Ridge() if targets.dtype.kind == "f" else LogisticRegression(C=10, max_iter=500)
        model.fit(features, targets[train])
        found[name] = model.predict(vectorizer.transform(texts[test]))
    return found


_LOAD: dict[str, Callable[[], Rows]] = {
    **{f"kinds_of_names_{language}": partial(kinds_of_names, language) for language in ("en", "zh", "ja", "th", "hi")},
    "language_of_names": language_of_names,
    "language_of_emoji": language_of_emoji,
    "gender_of_names": gender_of_names,
    "country_of_surnames": country_of_surnames,
    "language_of_messages": language_of_messages,
    "part_of_django": part_of_django,
    "package_of_docstrings": package_of_docstrings,
    "language_of_stop_words": language_of_stop_words,
    "sentiment_of_words": sentiment_of_words,
}
SETS: dict[str, WriteSet] = {name: partial(write, load) for name, load in _LOAD.items()}
