"""What becomes of a column: its inferred type, its scale, and values that need care."""
# ruff: noqa: RUF001 (characters of other scripts)

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tfloop_cli.engine.data.tables.column_types import fit_column
from tfloop_cli.engine.data.tables.encoders import ColumnEncoder, Scale
from tfloop_cli.engine.data.tables.encoding import (
    Settings,
    date_parts,
    encode,
    prepare,
    scale_of,
    standardized,
    wrong_values,
)
from tfloop_cli.engine.data.tables.notation import has_unit

SETTINGS = Settings(("NA", "?"), False, ".")


def fit(values: object, name: str = "x", declared: str | None = None, settings: Settings = SETTINGS):
    """Returns the encoder of a column and its features."""
    column = pa.chunked_array([values if isinstance(values, pa.Array) else pa.array(values)])
    encoder, found = fit_column(name, column, declared, settings, np.arange(len(column)))
    out = np.full((len(column), encoder.width), np.nan, np.float32)
    if found is not None:
        encode(found, encoder, out)
    return encoder, out


def encode_others(values: list[object], encoder: ColumnEncoder) -> tuple[np.ndarray, int]:
    out = np.full((len(values), encoder.width), np.nan, np.float32)
    unknown = encode(prepare(pa.chunked_array([pa.array(values)]), encoder, SETTINGS), encoder, out)
    return out, 0 if unknown is None else int(np.sum(unknown))


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (["907,481", "5", "1,000.5"], [907481, 5, 1000.5]),
        (["5%", "7.5 %"], [5, 7.5]),
        (["$5.30", "$1,000", "($2)"], [5.3, 1000, -2]),
        (["5 €", "6€"], [5, 6]),
        ([" 1", "+2.5e3", ".5"], [1, 2500, 0.5]),
        (["1", "2", "NA"] * 10 + ["unknown"], [1, 2, np.nan] * 10 + [np.nan]),
        ([*map(str, range(96)), "a", "b", "a", "c", "d"], [*range(96), *[np.nan] * 5]),
        (["9:47", "11:38:36", "125:00:00.5"], [35220, 41916, 450000.5]),
        (["9:47 AM", "12:00 pm", "12:30AM"], [35220, 43200, 1800]),
        (["12 000", "1 234.5", "7\u202f000"], [12000, 1234.5, 7000]),
        (["5 kg", "1,200kg", "-7.5 kg"], [5, 1200, -7.5]),
        ([*map(str, range(960, 1000)), "1,000", "1,234.5"], [*range(960, 1000), 1000, 1234.5]),
        ([*(f"${n}" for n in range(30)), "free"], [*range(30), np.nan]),
        ([*map(str, range(80)), *(f"[{n}]" for n in range(20))], [*range(80), *[np.nan] * 20]),
        (["١٢٫٥", "٣", "-٧"], [12.5, 3, -7]),
        (["१२", "７．５", "−3"], [12, 7.5, -3]),
        (["12,34,567", "1,00,000", "5,000"], [1234567, 100000, 5000]),
        (["₹5", "₹1,000"], [5, 1000]),
        (["USD 5.5", "USD 1,000"], [5.5, 1000]),
        (["R$ 5", "R$7"], [5, 7]),
        (["540万円", "600.5万円"], [540, 600.5]),
        (["65,000 zł", "7 zł"], [65000, 7]),
        (["5 kWh/100km", "-7.5 kWh/100km"], [5, -7.5]),
        (["800 sq ft", "1,200 sq ft"], [800, 1200]),
        (
            [*(f"{n}.5" for n in range(30)), "<0.5", "≥ 90", ">=80", "100+"],
            [*(n + 0.5 for n in range(30)), 0.5, 90, 80, 100],
        ),
        ([*(f"{n} mg" for n in range(30)), "<3 mg", "<3 mg"], [*range(30), 3, 3]),
        ([*(f"{n},000" for n in range(1, 30)), "(5,000)"], [*(1000 * n for n in range(1, 30)), -5000]),
    ],
)
def test_numbers_written_as_text(values: list[str], numbers: list[float]) -> None:
    encoder, out = fit(values)
    assert encoder.kind == "number"
    expected = standardized(np.array(numbers, float), encoder.scales[0])
    np.testing.assert_allclose(out[:, 0], expected, rtol=1e-6)
    assert encoder.missing == np.isnan(numbers).sum()


def test_limits_and_units_that_are_words_stay_categories() -> None:
    for values in (
        ["<50K", ">50K"],
        ["<1", "1", "2", ">5"],
        ["<18", "18-24", ">65"],
        ["Zone 3", "Zone 4"],
        ["BAW 123", "BAW 7"],
    ):
        assert fit(values * 10)[0].kind == "category", values
    assert fit([f"780.{n}D+03" for n in range(30)])[0].kind == "ignored"
    assert fit([*map(str, range(40)), "<3"])[0].note == "limits such as <0.5 count as 0.5"


def test_units_are_not_mixed() -> None:
    assert fit(["5 kg", "6 lb", "7 kg"])[0].kind == "category"
    encoder, _ = fit([*(f"{n} kg" for n in range(40)), "2 lb"])
    assert (encoder.form, encoder.missing) == ("unit kg", 1)
    assert encoder.note == "numbers with unit kg; 1 value(s) that are no numbers count as missing: `2 lb`"
    column = pa.chunked_array([["6 kg", "6"]])
    assert wrong_values(column, fit(["5 kg", "7 kg"])[0], prepare(column, encoder, SETTINGS), SETTINGS) == {1: "6"}
    assert has_unit("unit kg")
    assert not has_unit("spaces")


def test_currencies_are_not_mixed() -> None:
    assert fit(["$5", "€6", "$7", "8 £"])[0].kind == "category"
    encoder, _ = fit(["$5", "$7"])
    column = pa.chunked_array([["$6", "€6", "6 $"]])
    assert wrong_values(column, encoder, prepare(column, encoder, SETTINGS), SETTINGS) == {1: "€6"}
    values = prepare(column, replace(encoder, form="currency"), SETTINGS).values
    assert values.tolist() == [6, 6, 6]  # of a run of an earlier version


def test_declared_numbers_have_the_form_of_most_values() -> None:
    encoder, out = fit(["$1,000", "$3", "4", "about $5", "$5"], declared="number")
    assert (encoder.form, encoder.missing) == ("currency $", 2)
    assert out[:, -1].tolist() == [0, 0, 1, 1, 0]
    assert fit(["007", "010"], declared="number")[0].scales[0].median == 8.5


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (pa.array([1, 2, 3], pa.uint8()), [1, 2, 3]),
        (pa.array([1.5, None, 3], pa.float16()), [1.5, np.nan, 3]),
        (pa.array(["1.50", None, "3.25"]).cast(pa.decimal128(5, 2)), [1.5, np.nan, 3.25]),
        (pa.array([7, None, 9]).dictionary_encode(), [7, np.nan, 9]),
        (pa.array([60, 3600, None], pa.time32("s")), [60, 3600, np.nan]),
        (pa.array([1, 2, None], pa.duration("ms")), [0.001, 0.002, np.nan]),
    ],
)
def test_typed_numbers(values: pa.Array, numbers: list[float]) -> None:
    encoder, out = fit(values)
    assert (encoder.kind, encoder.missing) == ("number", np.isnan(numbers).sum())
    np.testing.assert_allclose(out[:, 0], standardized(np.array(numbers, float), encoder.scales[0]), rtol=1e-6)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.large_string())]
)
def test_typed_words(kind: pa.DataType) -> None:
    encoder, out = fit(
        pa.array(["b", "a", None]).cast(kind)
        if not pa.types.is_dictionary(kind)
        else pa.array(["b", "a", None], pa.large_string()).dictionary_encode()
    )
    assert encoder.levels == ("a", "b")
    assert out.argmax(axis=1).tolist() == [1, 0, 2]
    encoder, out = fit(pa.array([True, False, None]))
    assert encoder.levels == ("false", "true")


def test_numbers_that_stand_for_missing_values() -> None:
    encoder, out = fit([1, -9, 3], settings=Settings(("-9",), False, "."))
    assert (encoder.missing, out[:, 1].tolist()) == (1, [0, 1, 0])


def test_words_among_numbers_are_named() -> None:
    encoder, _ = fit([*map(str, range(99)), "low", "low"])
    assert encoder.note == "2 value(s) that are no numbers count as missing: `low`"


def test_mostly_numbers_are_no_id() -> None:
    values = [*map(str, range(85)), *(f"[{n}]" for n in range(15))]
    assert fit(values)[0].note == "15 value(s) that are no numbers count as missing: `[0]`, `[1]`, `[2]`, ..."
    assert fit(values, "ticket_id")[0].kind == "ignored"
    days = [*(f"2020-03-{n:02}" for n in range(1, 32)), *(f"2020-04-{n:02} - 2020-05-01" for n in range(1, 8))]
    assert fit(days)[0].note.startswith("dates are written year-month-day; 7 value(s) that are no dates count as missi")


@pytest.mark.parametrize("odd", ["1_01", "0x1F", "infinity", "nan0", "1e", "--1", "1,00", "007", "5 %"])
def test_only_decimal_notation_is_a_number(odd: str) -> None:
    assert fit(["1", odd, "2"])[0].kind == "category"


def test_infinite_numbers_are_missing() -> None:
    encoder, out = fit([1.0, 2.0, np.inf, -np.inf, 5.0])
    assert (encoder.missing, encoder.note) == (2, "2 infinite value(s) count as missing")
    assert out[2:4].tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("", [1, 2, 3], None),
        ("index", [0, 1, 2], "the row number"),
        ("Unnamed: 0", [1, 2, 3], "the row number"),
        ("rownames", [1, 2, 3], "the row number"),
        ("rownames", [1, 2, 4], None),
        ("rownames", [*range(50, 100)], "an id: every row has another one"),
        ("time", [1, 2, 3], None),
        ("user_id", [*range(100, 150)], "an id: every row has another one"),
        ("user_id", [*range(100, 150), 100, 101], "an id: 50 in 52 rows; `columns: {user_id: number}` uses it"),
        ("user_id", [*range(100, 150)] * 2, None),
        ("paid", [*range(100, 150)], None),
        ("x", [7, 7, 7], "all values are equal"),
        ("x", [0.1 + 0.2, 0.3, 0.3], "all values are equal but for rounding"),
        ("x", [None, None], "it has no values"),
        ("x", ["a", "A ", " a"], "all values are equal"),
        ("x", [f"key{n}" for n in range(30)], "an id of 30 distinct values; `columns: {x: category}` uses it"),
        ("x", [f"some text {n}" for n in range(30)], "free text of 30 distinct values; `columns: {x: text}` uses its"),
        ("x", [[1], [2]], "its values are of type list<item: int64>"),
    ],
)
def test_useless_columns_are_ignored_with_a_reason(name: str, values: list[object], why: str | None) -> None:
    encoder, _ = fit(values, name)
    assert (encoder.kind == "ignored") == (why is not None), encoder
    if why:
        assert encoder.note.startswith(f"ignored: {why}")


def test_narrow_categories_are_flags_and_wide_ones_are_ids() -> None:
    narrow, out = fit([f"v{n % 12:02}" for n in range(24)])
    np.testing.assert_array_equal(out, np.tile(np.eye(12), (2, 1)))
    assert narrow.ids == 0
    words = [f"v{n % 20:02}" for n in range(60)]
    wide, out = fit([*words, "once", "twice", "twice", "?"])
    assert (wide.ids, wide.missing, wide.indicator) == (23, 1, True)  # unknown, 21 words, missing
    assert out[:, 0].tolist() == [*(n % 20 + 2 for n in range(60)), 0, 1, 1, 22]
    others, unknown = encode_others(["V03 ", "new", "once", None, "TWICE"], wide)
    assert (others[:, 0].tolist(), unknown) == ([5, 0, 0, 22, 1], 2)


def test_case_spaces_and_notation_make_no_new_categories() -> None:
    encoder, out = fit(["yes", "Yes ", " YES", "no", "1", "1.0"])
    assert encoder.levels == ("1", "no", "yes")
    assert out.argmax(axis=1).tolist() == [2, 2, 2, 1, 0, 0]
    assert encode_others([1, 1.0], encoder)[0].tolist() == [[1, 0, 0], [1, 0, 0]]  # another file has numbers only
    # What only looks like a number is not changed, nor are numbers that float64 does not tell apart.
    codes = ["e-90", "e5", "+", "1e999", "2e999", "12345678901234567890", "12345678901234567891"]
    assert set(fit([*codes, "x"])[0].levels) == {*codes, "x"}
    exact, _ = fit(["yes", "Yes ", " YES", "no", "1", "1.0"], settings=Settings(("NA",), True, "."))
    assert len(exact.levels) == 6


def test_number_with_few_values_is_a_category_too() -> None:
    encoder, out = fit([float(n % 4) for n in range(40)])
    assert (encoder.kind, encoder.levels) == ("number", ("0", "1", "2", "3"))
    np.testing.assert_array_equal(out[:4, 1:], np.eye(4))
    assert fit([float(n % 4) for n in range(39)])[0].levels == ()


@pytest.mark.parametrize(
    ("values", "form"),
    [
        (["2020-02-29", "2021-12-31"], "year-month-day"),
        (["31/12/2020", "1/2/2020"], "day/month/year"),
        (["12/31/2020", "1/2/2020"], "month/day/year"),
        (["5 Jan 2020", "12 March 2021"], "day month year"),
        (["Jan 5, 2020", "Dec 1, 1999"], "month day year"),
        (["2020/01/05 12:30", "2020/1/6 00:00:30"], "year-month-day"),
        (["Mon, 6 Jan 2020 10:00:00 GMT", "Tue, 7 Jan 2020 10:00:00 +0000"], "day month year"),
        (["Monday, January 6, 2020", "Tue Jan 7, 2020"], "month day year"),
        (["2024/05/16 9:57:39 AM GMT+1", "2024/05/16 10:07:39 p.m. GMT-11"], "year-month-day"),
        (["Fri May 03 2024 10:00:00 GMT+0200 (CEST)", "Sat May 04 2024 10:00:00 GMT+0200 (CEST)"], "month day year"),
        (["May 3rd, 2024", "June 21st, 2024"], "month day year"),
        (["03/May/2024:10:00:00 +0200", "04/May/2024:10:00:00 +0200"], "day month year"),
        (["2024-05-16 10:00:01,234", "2024-05-16 10:00:02,345"], "year-month-day"),
        (["2024年5月3日", "2024年12月31日"], "year年month月day日"),
        (["2024년 5월 3일", "2024년 12월 31일"], "year年month月day日"),
        (["٢٠٢٤-٠٥-٠٣", "٢٠٢٤-٠٥-٠٤"], "year-month-day"),
        (["2020-02", "2021-12"], "year-month"),
        (["2020M02", "2021M12"], "year-month"),
        (["2020 Feb", "2021 December"], "year month"),
        (["Feb 2020", "December, 2021"], "month year"),
        (["2020 Q1", "2021Q4"], "year quarter"),
        (["1991 W06", "2020-W53"], "year week"),
        (["1991 W06", "2019 W53"], None),
        (["2/2020", "12-2021"], "month/year"),
        (["1:5", "1:12"], None),
        (["2012-13", "2013-14"], None),
        (["30/02/2020", "1/1/2020"], None),
        (["2020-13-01", "2020-01-01"], None),
    ],
)
def test_dates_have_one_form(values: list[str], form: str | None) -> None:
    encoder, _ = fit(values)
    assert (encoder.form, encoder.kind) == ((form, "date") if form else ("", "category"))


def test_weeks_months_and_quarters_begin_with_their_first_day() -> None:
    months = [
        ("2020-02", "2020-02-01"),
        ("2020 Feb", "2020-02-01"),
        ("02/2020", "2020-02-01"),
        ("2020 Q4", "2020-10-01"),
    ]
    for text, day in (*months, ("2020 W01", "2019-12-30"), ("2020-W50", "2020-12-07")):
        encoder, _ = fit([text, text.replace("2020", "2021")])
        days = prepare(pa.chunked_array([[text]]), encoder, SETTINGS).days
        assert days[0] == (np.datetime64(day) - np.datetime64(0, "D")).astype(int)


def test_words_among_dates_are_missing() -> None:
    encoder, out = fit([*(f"{n % 28 + 1}/{n % 12 + 1}/2020" for n in range(60)), "31/12/20", "unknown", "30/2/2020"])
    assert (encoder.kind, encoder.form, encoder.missing) == ("date", "day/month/year", 2)
    assert encoder.note == (
        "dates are written day/month/year; 2 value(s) that are no dates count as missing: `unknown`, `30/2/2020`"
    )
    assert out[:, -1].tolist() == [*[0] * 61, 1, 1]


def test_dates_become_their_parts() -> None:
    days = (np.array(["2020-02-29T18:00", "1969-12-31T00:00"], "M8[m]") - np.datetime64(0, "m")) / np.timedelta64(
        1, "D"
    )
    parts = date_parts(np.append(days, np.nan))
    expected = {
        "days": [18321.75, -1], "year": [2020, 1969], "month": [2, 12], "day": [29, 31], "weekday": [5, 2],
        "hour": [18, 0], "sin": [np.sin(2 * np.pi * 59 / 365.25), np.sin(2 * np.pi * 364 / 365.25)],
    }  # fmt: skip
    for name, values in expected.items():
        np.testing.assert_allclose(parts[name], [*values, np.nan], err_msg=name)
    encoder, out = fit(pa.array([0, None, 86_400_000], pa.timestamp("ms")))
    assert encoder.parts == ("days", "year", "month", "day", "weekday", "sin", "cos")[:1] + encoder.parts[1:]
    assert out[:, -1].tolist() == [0, 1, 0]


def test_outliers_neither_overflow_nor_hide_the_others() -> None:
    numbers = np.array([1.0, 2, 3, 4, 5, 1e300, -1.7e308])
    scale = scale_of(numbers)
    assert scale == Scale(3.0, 3.0)
    out = standardized(numbers, scale)
    assert np.isfinite(out).all()
    np.testing.assert_allclose(
        out, [*np.array([-2, -1, 0, 1, 2]) / 3 / np.hypot(1, np.array([-2, -1, 0, 1, 2]) / 9), 3, -3]
    )


def test_scale_of_mostly_equal_numbers_is_that_of_the_others() -> None:
    scale = scale_of(np.array([0.0] * 90 + [2.0] * 6 + [4.0, 4.0, 4.0, 1e300]))
    assert scale == Scale(0.0, 4.0)


def test_numbers_constant_but_for_rounding_do_not_explode() -> None:
    numbers = np.array([0.1 + 0.2, 0.3] * 10)
    assert scale_of(numbers).width == 0
    assert not standardized(numbers, scale_of(numbers)).any()


def test_whole_numbers_that_are_dates_are_dates() -> None:
    encoder, _ = fit([19580329, 20240229, None, 19990101])
    assert (encoder.kind, encoder.form, encoder.missing) == ("date", "yearmonthday", 1)
    assert "dates are written yearmonthday" in encoder.note
    assert encoder.parts[:2] == ("days", "year")
    assert fit([19580329, 20240230, 19990101])[0].kind == "number"  # no leap day
    assert fit([1990.5, 2000.0, 2010.0])[0].kind == "number"


def test_clocks_of_logs_and_forms() -> None:
    instant = np.datetime64("2024-05-16T21:57:39.250").astype("M8[ms]").astype(np.int64) / 86_400_000
    for text in (
        "2024/05/16 10:57:39,250 PM GMT+1",
        "2024/05/17 1:27:39.25 a.m. UTC+3:30",
        "16/May/2024:19:57:39.25 -0200",
    ):
        encoder, _ = fit([text, text.replace("16", "18").replace("/17", "/19")])
        assert prepare(pa.chunked_array([[text]]), encoder, SETTINGS).days[0] == pytest.approx(instant, abs=1e-9)


def test_times_with_an_offset_are_the_same_instant_however_they_are_read() -> None:
    texts = [f"2024-03-{day:02}T{hour:02}:30:00{offset}" for day in (1, 9, 31) for hour, offset in
             ((0, "+02:00"), (10, "Z"), (23, "-0530"), (14, "+01"))]  # fmt: skip
    times = pa.array(texts).cast(pa.timestamp("s", "UTC"))
    encoder, as_times = fit(times)
    assert (encoder.kind, encoder.form) == ("date", "")
    as_text, _ = encode_others(texts, replace(encoder, form="year-month-day"))
    assert np.array_equal(as_text, as_times)
    assert np.array_equal(fit(texts)[1], as_times)


def test_numbers_are_codes_with_leading_zeros_if_all_codes_have_as_many_digits() -> None:
    codes = ["00501", "00502", "12345"]
    encoder, expected = fit(codes * 4, declared="category")
    for values in ([501, 502, 12345], [501.0, 502.0, 12345.0]):
        found, unknown = encode_others(values, encoder)
        assert (found.tolist(), unknown) == (expected[:3].tolist(), 0)
    assert encode_others(["501", "502", "12345"], encoder)[1] == 2  # texts are what they are
    other, _ = fit(["007", "12"] * 4, declared="category")
    assert encode_others([7, 12], other)[1] == 1


@pytest.mark.parametrize(
    ("values", "other"),
    [
        ([*map(str, range(96)), "a", "b", "a", "c"], "5%"),
        ([*(f"${n}" for n in range(96)), "free"], "5"),
        ([*(f"2020-01-{n % 28 + 1:02}" for n in range(96)), "unknown"], "3/4/2020"),
    ],
)
def test_words_are_missing_values_only_where_training_has_them(values: list[str], other: str) -> None:
    """Numbers and dates in another form never are: they may have another unit."""
    rows = pa.chunked_array([["never", other, values[0], None]])
    for training, wrong in ((values, {1: other}), ([*values[:90], None], {0: "never", 1: other})):
        encoder, _ = fit(training)
        assert encoder.has_words == (training is values)
        assert wrong_values(rows, encoder, prepare(rows, encoder, SETTINGS), SETTINGS) == wrong


def test_most_dates_decide_the_order_of_day_and_month() -> None:
    encoder, _ = fit([*(f"{n % 9 + 1}/{n % 12 + 1}/2020" for n in range(97)), "13/1/2020", "14/2/2020", "unknown"])
    assert (encoder.form, encoder.missing) == ("day/month/year", 1)


def test_order_of_day_and_month_is_shown_and_can_be_set() -> None:
    texts = ["03/04/2020", "05/06/2021"]
    for declared, form in ((None, "month/day/year"), ("date", "month/day/year"), ("day/month/year", "day/month/year")):
        encoder, _ = fit(texts, declared=declared)
        assert (encoder.kind, encoder.form, encoder.note) == ("date", form, f"dates are written {form}")
    column = pa.chunked_array([pa.array(texts)])
    assert date_parts(prepare(column, encoder, SETTINGS).days)["month"].tolist() == [4, 6]


def test_unit_and_notation_of_numbers_are_shown() -> None:
    written = {"1,500": "separators of thousands", "5%": "percentages", "$5": "a currency", "9:47": "in seconds"}
    written |= {"12 500": "spaces between thousands", "5 kg": "a unit"}
    for text, shown in written.items():
        assert shown in fit([text, text.replace("5", "7").replace("9", "8")])[0].use


def test_comma_after_zero_separates_no_thousands() -> None:
    assert fit(["1,823", *["0,123", "2,500"] * 9])[0].form != "thousands"


@pytest.mark.parametrize(
    ("form", "texts"), [("percent", ["5%", "7%"]), ("currency $", ["$5", "$7"]), ("time", ["9:47", "9:48"])]
)
def test_numbers_without_the_unit_of_training_are_wrong(form: str, texts: list[str]) -> None:
    """In files with types, too: Excel has 0.05 for 5%."""
    encoder, _ = fit(texts)
    assert encoder.form == form
    column = pa.chunked_array([pa.array([0.05, None])])
    values = prepare(column, encoder, SETTINGS)
    assert values.missing.all()
    assert wrong_values(column, encoder, values, SETTINGS) == {0: "0.05"}
    seconds = prepare(pa.chunked_array([pa.array([35220], pa.time32("s"))]), encoder, SETTINGS)
    assert seconds.missing.tolist() == [form != "time"]
