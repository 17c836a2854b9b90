"""The language of `where`: conditions on columns of an index, and the SQL for Lance that is written from them.

    condition   column = literal (or != <> < <= > >=), column [NOT] IN (literal, ...), column [NOT] LIKE 'text',
                column IS [NOT] NULL; joined by AND, OR, NOT and parentheses
    column      its name; in double quotes, if it is no plain word
    literal     'text' (a single quote in it is doubled), a number, TRUE or FALSE; days and times are text

Lance's own SQL has functions that take any time and memory, and its parser takes twice as long for each further NOT.
A condition never reaches it: what does is written here, from a tree of bounded size.
"""

import math
from functools import cache
from typing import Any

import pyarrow as pa
from lark import Lark, Token, Tree, UnexpectedInput

from pairjepa.apps.search.stored import INNER
from pairjepa.util.errors import UsageError, unknown

MAX_LENGTH = 1000
"""Characters of a condition."""
MAX_DEPTH = 10
"""Parentheses and NOTs within each other."""
HIDDEN = frozenset(("path", "source", "captions", "caption", *INNER))
"""Columns that say where an image lies, or that are no property to choose images by."""

_GRAMMAR = r"""
?start: any
?any: all (_OR all)*
?all: one (_AND one)*
?one: NOT one -> negation
    | "(" any ")" -> nested
    | column COMPARISON literal -> comparison
    | column [NOT] _IN "(" literal ("," literal)* ")" -> membership
    | column [NOT] _LIKE literal -> likeness
    | column _IS [NOT] _NULL -> nullness
?column: NAME | QUOTED
?literal: TEXT | NUMBER | TRUTH

COMPARISON: "=" | "!=" | "<>" | "<=" | ">=" | "<" | ">"
_OR.2: /or\b/i
_AND.2: /and\b/i
NOT.2: /not\b/i
_IN.2: /in\b/i
_LIKE.2: /like\b/i
_IS.2: /is\b/i
_NULL.2: /null\b/i
TRUTH.2: /(true|false)\b/i
NUMBER: /[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?/i
TEXT: /'([^']|'')*'/
QUOTED: /"[^"]+"/
NAME: /[^\W\d]\w*/
%ignore /\s+/
"""


def condition_columns(schema: pa.Schema) -> list[str]:
    """The columns that a condition may speak of."""
    return [field.name for field in schema if field.name not in HIDDEN and not {*'`"'} & {*field.name}]


def to_sql(condition: str, schema: pa.Schema) -> str:
    """The filter for Lance that a condition means.

    Args:
        condition: see above.
        schema: of the table.

    Raises:
        UsageError: it is no condition, too long or too deep, or names a column or a value that cannot be.
    """
    columns = {name: schema.field(name).type for name in condition_columns(schema)}
    if len(condition) > MAX_LENGTH:
        raise UsageError(f"where must have at most {MAX_LENGTH:,} characters, got {len(condition):,}.")
    try:
        tree = _parser().parse(condition)
    except UnexpectedInput as error:
        ends = getattr(error, "token", Token("", "")).type == "$END"
        near = (
            "ends too early" if ends else f"cannot be read from {condition[error.pos_in_stream :][:30]!r} on"
        )
        raise UsageError(
            f"where must be a condition on {', '.join(columns)}, got {condition!r}, which {near}. "
            "Write it like split = 'test' AND width > 500, with text in single quotes."
        ) from None
    if (depth := _depth(tree)) > MAX_DEPTH:
        raise UsageError(
            f"where must have at most {MAX_DEPTH} parentheses and NOTs within each other, got {depth}."
        )
    return _sql(tree, columns)


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", maybe_placeholders=True)


def _depth(tree: Tree[Token]) -> int:
    deepest, todo = 0, [(tree, 0)]
    while todo:
        node, depth = todo.pop()
        depth += node.data in ("nested", "negation")
        deepest = max(deepest, depth)
        todo += [(child, depth) for child in node.children if isinstance(child, Tree)]
    return deepest


def _sql(node: Any, columns: dict[str, pa.DataType]) -> str:
    parts = node.children
    match node.data:
        case "any" | "all":
            return {"any": " OR ", "all": " AND "}[node.data].join(_sql(part, columns) for part in parts)
        case "negation":
            return f"NOT ({_sql(parts[1], columns)})"
        case "nested":
            return f"({_sql(parts[0], columns)})"
    name = parts[0].strip('"')
    if name not in columns:
        error = unknown("column in where", name, columns)
        raise UsageError(f"{error} Text goes into single quotes: split = 'test'.")
    column, negated, kind = f"`{name}`", "NOT " if parts[1] else "", columns[name]
    match node.data:
        case "nullness":
            return f"{column} IS {negated}NULL"
        case "membership":
            # not by SQL's IN: Lance's engine takes NULL for a match of (x NOT IN (0)) OR (x NOT IN (1))
            other = " AND ".join(f"{column} != {_value(part, name, kind)}" for part in parts[2:])
            return f"({other})" if negated else f"NOT ({other})"
        case "likeness" if pa.types.is_string(kind):
            return f"{column} {negated}LIKE {_value(parts[2], name, kind)}"
        case "likeness":
            raise UsageError(f"{name} must be text to be compared by LIKE, got a column of {kind}.")
    return f"{column} {parts[1]} {_value(parts[2], name, kind)}"


_KINDS = (
    (pa.types.is_string, "TEXT", "text in single quotes, such as 'dog'"),
    (pa.types.is_boolean, "TRUTH", "TRUE or FALSE"),
    (pa.types.is_integer, "NUMBER", "a whole number"),
    (pa.types.is_floating, "NUMBER", "a number"),
    (pa.types.is_date, "TEXT", "a day, such as '2026-01-31'"),
    (pa.types.is_timestamp, "TEXT", "a time, such as '2026-01-31 12:00:00', or 12:00:00Z with a time zone"),
)
"""Of a column: its type, the literal that it is compared with, and what that is called."""


def _value(literal: Token, name: str, kind: pa.DataType) -> str:
    """A literal as Lance's SQL has it, checked to be of the column's type."""
    fitting = next((entry for entry in _KINDS if entry[0](kind)), None)
    if fitting is None:
        raise UsageError(
            f"{name} must be text, a number, TRUE or FALSE, or a time to be compared, got {kind}."
        )
    _, token, words = fitting
    text = literal[1:-1].replace("''", "'") if literal.type == "TEXT" else literal.lstrip("+")
    try:
        if literal.type != token:
            raise ValueError
        value = pa.scalar(text).cast(kind)
        if pa.types.is_floating(kind) and not math.isfinite(value.as_py()):
            raise ValueError
    except (ValueError, pa.ArrowException):
        raise UsageError(f"{name} must be compared with {words}, got {literal}.") from None
    if pa.types.is_string(kind):
        return "'" + text.replace("'", "''") + "'"
    if token == "TEXT":
        return f"{'date' if pa.types.is_date(kind) else 'timestamp'} '{value.cast(pa.string())}'"
    return str(value)
