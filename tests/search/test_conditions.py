"""Conditions: what they choose, against a plain reading of them in Python, and what is none."""

import datetime
import operator
import re
import subprocess
import sys
from typing import Any

import lance
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pairjepa.apps.search.conditions import MAX_DEPTH, MAX_LENGTH, condition_columns, to_sql
from pairjepa.util.errors import UsageError

ROWS: list[dict[str, Any]] = [
    {"name": "dogs/rex.jpg", "split": "test", "width": 640, "share": 0.25, "good": True, "odd name": "a"},
    {"name": "it's.png", "split": "train", "width": 3, "share": -1.5, "good": False, "odd name": "%"},
    {"name": "back\\slash", "split": "", "width": -7, "share": 1e300, "good": None, "odd name": None},
    {"name": "Große Straße", "split": None, "width": None, "share": None, "good": True, "odd name": "_"},
    {"name": "order", "split": "or", "width": 2**31 - 1, "share": 0.0, "good": False, "odd name": "a%b"},
]
DAY, TIME = datetime.date(2026, 1, 31), datetime.datetime(2026, 1, 31, 12)
SCHEMA = pa.schema(
    {
        "name": pa.string(),
        "split": pa.string(),
        "width": pa.int32(),
        "share": pa.float64(),
        "good": pa.bool_(),
        "odd name": pa.string(),
        "day": pa.date32(),
        "time": pa.timestamp("us"),
        "zoned": pa.timestamp("ns", "UTC"),
        "clock": pa.time64("us"),
        "path": pa.string(),
        "source": pa.string(),
        "stamp": pa.string(),
        "back`tick": pa.string(),
    }
)
TEXTS = [str(row["name"]) for row in ROWS] + ["test", "", "'", "%", "a", "_", "zzz", "''", "-- x", "\\"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Any:
    rows = [
        row | {"day": DAY, "time": TIME, "zoned": TIME, "path": "/private", "source": "/private"}
        for row in ROWS
    ]
    path = tmp_path_factory.mktemp("table") / "t.lance"
    return lance.write_dataset(pa.Table.from_pylist(rows, SCHEMA), str(path))


def chosen(table: Any, condition: str) -> list[str]:
    return table.to_table(columns=["name"], filter=to_sql(condition, table.schema))["name"].to_pylist()


Truth = bool | None  # None: SQL's unknown
COMPARISONS = {
    "=": operator.eq, "!=": operator.ne, "<>": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def _negated(truth: Truth) -> Truth:
    return None if truth is None else not truth


def _text(value: object) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _like(value: str, pattern: str) -> bool:
    parts = {"%": ".*", "_": "."}
    return bool(re.fullmatch("".join(parts.get(c, re.escape(c)) for c in pattern), value, re.DOTALL))


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "name": st.sampled_from(TEXTS),
    "split": st.sampled_from(["test", "train", "or", ""]) | st.text(max_size=3),
    "width": st.integers(-10, 700) | st.integers(-(2**31), 2**31 - 1),
    "share": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-2, 2),
    "good": st.booleans(),
    "odd name": st.sampled_from(TEXTS),
}
Condition = tuple[str, list[Truth]]  # as it is written, and what it says of each row


@st.composite
def _one(draw: st.DrawFn) -> Condition:
    column = draw(st.sampled_from(list(VALUES)))
    written = f'"{column}"' if " " in column or draw(st.booleans()) else column
    cells = [row[column] for row in ROWS]
    kinds = ["compare", "in", "null"] + (["like"] if column in ("name", "split", "odd name") else [])
    kind, negated = draw(st.sampled_from(kinds)), draw(st.booleans())
    word = "NOT " if negated else ""
    if kind == "null":
        truths: list[Truth] = [(cell is None) != negated for cell in cells]
        return f"{written} is {word}null", truths
    if kind == "compare":
        sign, value = draw(st.sampled_from(list(COMPARISONS))), draw(VALUES[column])
        if column == "good" and sign not in ("=", "!=", "<>"):
            sign = "="
        found = [None if cell is None else COMPARISONS[sign](cell, value) for cell in cells]
        return f"{written}{sign}{_text(value)}", found
    if kind == "in":
        values = draw(st.lists(VALUES[column], min_size=1, max_size=4))
        found = [None if cell is None else cell in values for cell in cells]
        said = f"{written} {word}In ({', '.join(map(_text, values))})"
    else:
        # a backslash takes a pattern's next character for itself, which is left to Lance
        pattern = draw(st.text("%_arest'/.", max_size=6))
        found = [None if cell is None else _like(cell, pattern) for cell in cells]
        said = f"{written} {word}like {_text(pattern)}"
    return said, [_negated(truth) for truth in found] if negated else found


def _joined(parts: list[Condition], word: str) -> Condition:
    one, other = (False, True) if word == "AND" else (True, False)  # the truth that decides, and the other

    def truth(truths: list[Truth]) -> Truth:
        return one if one in truths else None if None in truths else other

    return f" {word} ".join(f"({said})" for said, _ in parts), [
        truth(list(row)) for row in zip(*(truths for _, truths in parts), strict=True)
    ]


CONDITIONS = st.recursive(
    _one(),
    lambda inner: st.one_of(
        st.tuples(st.lists(inner, min_size=2, max_size=3), st.sampled_from(["AND", "OR"])).map(
            lambda given: _joined(*given)
        ),
        inner.map(lambda given: (f"not ({given[0]})", [_negated(truth) for truth in given[1]])),
    ),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(condition=CONDITIONS)
def test_a_condition_chooses_what_it_says(table: Any, condition: Condition) -> None:
    said, truths = condition
    expected = [row["name"] for row, truth in zip(ROWS, truths, strict=True) if truth]
    assert chosen(table, said) == expected, said


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("split = 'test' or split = 'train' and width > 5", [0]),  # AND binds closer
        ("(split = 'test' or split = 'train') and width > 5", [0]),
        ("not split = 'test' and width > 0", [1, 4]),  # and NOT closer still
        ("day = '2026-01-31' and time >= '2026-01-31T11:59:59'", [0, 1, 2, 3, 4]),
        ("zoned < '2026-01-31 14:00:00+01:00'", [0, 1, 2, 3, 4]),
        ("clock is null", [0, 1, 2, 3, 4]),
        ("split='or'AND name='order'", [4]),
        ("width not in (3) or width not in (-7)", [0, 1, 2, 4]),  # what is null is neither
        ("not (width in (3) and width in (-7))", [0, 1, 2, 4]),
    ],
)
def test_how_it_binds_and_what_is_a_time(table: Any, condition: str, rows: list[int]) -> None:
    assert chosen(table, condition) == [ROWS[row]["name"] for row in rows]


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("", "got '', which ends too early"),
        ("split", "ends too early"),
        ("split = 'test' AND", "ends too early"),
        ("(split = 'test'", "ends too early"),
        ("split = 'test')", r"cannot be read from '\)' on"),
        ("split = test", "cannot be read from 'test' on.*text in single quotes"),
        ('split = "test"', "text in single quotes"),
        ("upper(split) = 'TEST'", "cannot be read from .*split"),
        ("width + 1 = 2", r"cannot be read from '\+ 1 = 2' on"),
        ("split = 'a' -- b", "cannot be read from '-- b' on"),
        ("split = 'a'; x", "cannot be read"),
        ("split = $$a$$", "cannot be read"),
        ("1 = 1", "cannot be read"),
        ("CASE WHEN good = TRUE", "cannot be read"),
        ("split = CAST(1 AS text)", "cannot be read"),
        ("splitt = 'a'", "Unknown column in where 'splitt'. Did you mean 'split'"),
        ("path LIKE '/%'", "Unknown column in where 'path'"),
        ("PATH IS NULL", "Unknown column"),
        ("\"source\" = 'a'", "Unknown column"),
        ("stamp = 'a'", "Unknown column"),
        ("\"back`tick\" = 'a'", "Unknown column"),
        ("width = 'a'", "width must be compared with a whole number, got 'a'"),
        ("width > 1.5", "width must be compared with a whole number, got 1.5"),
        ("width > 99999999999", "width must be compared with a whole number"),
        ("share > 1e999", "share must be compared with a number, got 1e999"),
        ("good = 1", "good must be compared with TRUE or FALSE, got 1"),
        ("split IN ('a', 1)", "split must be compared with text in single quotes, such as 'dog', got 1"),
        ("width LIKE '1%'", "width must be text to be compared by LIKE"),
        ("day = 'soon'", "day must be compared with a day"),
        ("clock = '12:00:00'", "clock must be text, a number"),
        ("NOT " * (MAX_DEPTH + 1) + "width = 1", "at most 10 parentheses and NOTs within each other, got 11"),
        ("(" * 400 + "width = 1" + ")" * 400, "within each other, got 400"),
        ("width = 1 OR " * 100 + "width = 1", f"at most {MAX_LENGTH:,} characters, got 1,309"),
    ],
)
def test_what_is_no_condition(condition: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        to_sql(condition, SCHEMA)


def test_the_longest_and_the_deepest_are_answered(table: Any) -> None:
    long = " OR ".join(["width = 1"] * 76) + " OR width = 640"
    assert len(long) <= MAX_LENGTH
    assert chosen(table, long) == [ROWS[0]["name"]]
    assert chosen(table, "NOT " * MAX_DEPTH + "width = 640") == [ROWS[0]["name"]]
    assert chosen(table, "(" * MAX_DEPTH + "width = 640" + ")" * MAX_DEPTH) == [ROWS[0]["name"]]


def test_no_column_says_where_images_lie() -> None:
    assert not {"path", "source", "stamp", "back`tick"} & set(condition_columns(SCHEMA))
    assert "name" in condition_columns(SCHEMA)


def test_the_parser_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys, pairjepa.apps.search.index; print('lark' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
