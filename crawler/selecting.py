"""Values taken out of JSON replies into their records (JMESPath); nothing else knows jmespath."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from math import isfinite
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError, JMESPathTypeError
from jmespath.functions import REVERSE_TYPES_MAP, TYPES_MAP, Functions, signature
from jmespath.visitor import TreeInterpreter

from crawler.codec import encode_json
from crawler.engines.base import Kept
from crawler.errors import UsageError
from crawler.exact_json import number, read_json, write_json
from crawler.record import Record

_NOTHING: Final = ""
_SHOWN: Final = 200
_FUNCTIONS: Final[dict[str, Any]] = getattr(Functions, "FUNCTION_TABLE")  # noqa: B009 - not in its stubs
_NOT_FOUND: Final = (JMESPathError, ValueError, TypeError, ArithmeticError, RecursionError)
"""What jmespath lets out where an expression does not suit a reply: floor() of a NaN, say."""

# jmespath knows numbers by the names of their types; what a double cannot hold is one too.
TYPES_MAP["Decimal"] = "number"
REVERSE_TYPES_MAP["number"] = (*REVERSE_TYPES_MAP["number"], "Decimal")


class _NothingGivenError(Exception):
    """A function was given what is not there."""


class _Functions(Functions):
    """jmespath's own, but that a number keeps all of its digits, and that nothing comes of nothing.

    ``max(items)`` of a reply without items is null, as what is not there is elsewhere. An item amid
    others that does not suit stays an error: ``within`` counts projections and calls around.
    """

    def __init__(self) -> None:
        self.within = 0

    def call_function(self, function_name: str, resolved_args: Any) -> Any:  # noqa: ANN401
        before = self.within
        try:
            return super().call_function(function_name, resolved_args)
        except _NothingGivenError:
            return None
        finally:
            self.within = before

    def _type_check(self, actual: Any, signature: Any, function_name: str) -> None:  # noqa: ANN401
        try:
            super()._type_check(actual, signature, function_name)  # type: ignore[misc] # not in its stubs
        except JMESPathTypeError:
            if not self.within and any(each is None for each in actual):
                raise _NothingGivenError from None
            raise
        self.within += 1  # for what the function itself calls, until it has ended

    @signature({"types": []})
    def _func_to_number(self, arg: Any) -> Any:  # noqa: ANN401
        if isinstance(arg, Decimal):
            return arg
        value = super()._func_to_number(arg)  # type: ignore[misc] # not in its stubs
        is_cut = isinstance(value, float) and isinstance(arg, str) and isfinite(value)
        return number(arg) if is_cut else value

    @signature({"types": ["array-number"]})
    def _func_sum(self, arg: Any) -> Any:  # noqa: ANN401
        return sum(map(float, arg)) if any(isinstance(each, Decimal) for each in arg) else sum(arg)

    @signature({"types": ["array-number"]})
    def _func_avg(self, arg: Any) -> Any:  # noqa: ANN401
        return self._func_sum(arg) / len(arg) if arg else None

    @signature({"types": []})
    def _func_to_string(self, arg: Any) -> str:  # noqa: ANN401
        return arg if isinstance(arg, str) else write_json(arg)


class _Interpreter(TreeInterpreter):
    """jmespath's own, whose functions know whether they are called for one of many elements."""

    def __init__(self) -> None:
        self._own = _Functions()
        super().__init__(jmespath.Options(custom_functions=self._own))

    def visit_projection(self, node: Any, value: Any) -> Any:  # noqa: ANN401
        return self._of_many(super().visit_projection, node, value)

    def visit_filter_projection(self, node: Any, value: Any) -> Any:  # noqa: ANN401
        return self._of_many(super().visit_filter_projection, node, value)

    def visit_value_projection(self, node: Any, value: Any) -> Any:  # noqa: ANN401
        return self._of_many(super().visit_value_projection, node, value)

    def _of_many(self, visit: Callable[[Any, Any], Any], node: Any, value: Any) -> Any:  # noqa: ANN401
        self._own.within += 1
        try:
            return visit(node, value)
        finally:
            self._own.within -= 1


def compiled(expression: str, option: str) -> Any:  # noqa: ANN401 - jmespath's own type
    """Read an expression; raises ``UsageError`` that says what is wrong with it and where."""
    try:
        read = jmespath.compile(expression)
    except JMESPathError as exc:
        words = str(exc).partition("\n")[0].rstrip(":") + _place(exc)
    except RecursionError:
        words = "it is nested too deeply"
    else:
        words = next(_faults(read.parsed), "")
    if words:
        raise UsageError(f"{option} {expression!r} is no JMESPath expression: {words}")
    return read


def _place(exc: JMESPathError) -> str:
    at = getattr(exc, "lex_position", getattr(exc, "lexer_position", None))
    return "" if at is None else f" (at character {at + 1})"


def _faults(node: Any) -> Iterator[str]:  # noqa: ANN401
    """Say what jmespath itself would find wrong only once it has a reply."""
    children = node["children"]
    if node["type"] == "function_expression":
        yield from _faults_of_call(node["value"], len(children))
    elif node["type"] == "slice" and 0 in children[2:]:
        yield "the step of a slice cannot be 0"
    for child in children:
        if isinstance(child, dict):
            yield from _faults(child)


def _faults_of_call(name: str, given: int) -> Iterator[str]:
    if name not in _FUNCTIONS:
        yield f"there is no function {name}()"
        return
    takes = _FUNCTIONS[name]["signature"]
    open_ended = bool(takes) and takes[-1].get("variadic", False)
    if given < len(takes) or (given > len(takes) and not open_ended):
        yield f"{name}() takes {len(takes)}{' or more' * open_ended}, not {given}"


class Selector:
    """The keeper that puts what each expression finds into the record, under its name.

    Texts are written as they are, other values as JSON; what is not there is an empty text, as in a
    reply that is no JSON.
    """

    def __init__(self, select: tuple[tuple[str, str], ...]) -> None:
        self._select = [(name, compiled(text, "--select")) for name, text in select]

    def keep(self, record: Record, kept: Kept) -> Record:
        """Add the fields; the reply is only looked at."""
        try:
            reply = read_json(kept.body.read())
        except (ValueError, RecursionError):
            found = dict.fromkeys((name for name, _ in self._select), _NOTHING)
        else:
            found = {name: _found(expr, reply) for name, expr in self._select}
        return record._replace(fields={**record.fields, **found})

    def flush(self) -> None:
        """Nothing is written here."""

    def settled(self) -> None:
        """Nothing waits for that."""

    def close(self) -> None:
        """Nothing is open."""


def search(expression: Any, reply: Any) -> Any:  # noqa: ANN401
    """Give what an expression finds in a reply, None where that is nothing or cannot be."""
    with contextlib.suppress(ValueError):
        return search_strictly(expression, reply)


def search_strictly(expression: Any, reply: Any) -> Any:  # noqa: ANN401
    """Give what an expression finds in a reply, None where that is nothing.

    What is not there may be given to a function, as by ``max(items)``: that finds nothing. Raises
    ``ValueError`` where an expression does not suit a reply.
    """
    try:
        return _Interpreter().visit(expression.parsed, reply)
    except JMESPathTypeError as exc:
        raise ValueError(f"{exc.function_name}() does not take a {exc.actual_type}") from None
    except _NOT_FOUND as exc:
        raise ValueError(" ".join(str(exc).split())[:_SHOWN]) from None


def _found(expression: Any, reply: Any) -> str:  # noqa: ANN401
    """Give what is found as text; a reply must not end the run, so what cannot be is not found."""
    value = search(expression, reply)
    try:
        return _NOTHING if value is None else _text(value)
    except (ValueError, TypeError):  # half a character; an expression, which is no value
        return _NOTHING


def _text(value: Any) -> str:  # noqa: ANN401
    try:
        encoded = encode_json(value)
    except ValueError:  # a whole number of more than 64 bits; or a text that is no Unicode
        encoded = write_json(value).encode("utf-8")
    return value if isinstance(value, str) else encoded.decode("utf-8").rstrip("\n")
