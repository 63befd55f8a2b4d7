"""Formulas of one variable, `v`, as people write them for colours: `abs(v)`, `(2+v)/3`, `where(v>0, v, 0)`.

The text is parsed by Python's `ast` and never executed. Only these pass: `v`, `pi`, `e`, numbers, arithmetic
(+ - * / // % **), comparisons, `and`, `or`, `not` (also `&`, `|`, `~`), `a if c else b`, and numpy's
element-wise functions by their names (`FUNCTIONS`). Everything else is a `SpecError` with a caret under it.
Truth is 1.0 and 0.0; any number but 0 is true. What has no value (`log(-1)`, `1/0`) gives nan or inf.
"""

from __future__ import annotations

import ast
import functools
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from lib_unet_viz.notation.specs import SpecError

Array = NDArray[np.float64]
_Evaluate = Callable[[Array], Any]

_LONGEST = 1000
# Each level costs a few Python frames, of which the interpreter allows about a thousand.
_DEEPEST = 100

_ONE_ARGUMENT = (
    "abs absolute arccos arccosh arcsin arcsinh arctan arctanh cbrt ceil cos cosh deg2rad degrees exp exp2 "
    "expm1 fabs fix floor isfinite isinf isnan log log10 log1p log2 logical_not nan_to_num negative positive "
    "rad2deg radians reciprocal rint round sign sin sinc sinh sqrt square tan tanh trunc"
)
_TWO_ARGUMENTS = (
    "add arctan2 copysign divide equal floor_divide fmax fmin fmod greater greater_equal heaviside hypot "
    "less less_equal logaddexp logical_and logical_or logical_xor maximum minimum mod multiply not_equal "
    "power remainder subtract true_divide"
)
_THREE_ARGUMENTS = "clip where"
_ARITIES = ((1, _ONE_ARGUMENT), (2, _TWO_ARGUMENTS), (3, _THREE_ARGUMENTS))
FUNCTIONS: Mapping[str, int] = MappingProxyType(
    {n: count for count, s in _ARITIES for n in sorted(s.split())}
)
"""Name of every function that a formula may call, and how many arguments it takes."""

_CONSTANTS: Mapping[str, float] = MappingProxyType({"pi": math.pi, "e": math.e})
_BINARY: Mapping[type[ast.operator], np.ufunc] = MappingProxyType(
    {
        ast.Add: np.add,
        ast.Sub: np.subtract,
        ast.Mult: np.multiply,
        ast.Div: np.divide,
        ast.FloorDiv: np.floor_divide,
        ast.Mod: np.mod,
        ast.Pow: np.power,
        ast.BitAnd: np.logical_and,
        ast.BitOr: np.logical_or,
    }
)
_UNARY: Mapping[type[ast.unaryop], np.ufunc] = MappingProxyType(
    {ast.UAdd: np.positive, ast.USub: np.negative, ast.Not: np.logical_not, ast.Invert: np.logical_not}
)
_COMPARE: Mapping[type[ast.cmpop], np.ufunc] = MappingProxyType(
    {
        ast.Lt: np.less,
        ast.LtE: np.less_equal,
        ast.Gt: np.greater,
        ast.GtE: np.greater_equal,
        ast.Eq: np.equal,
        ast.NotEq: np.not_equal,
    }
)


@dataclass(frozen=True)
class Formula:
    """A parsed formula: `Formula.parse("(2+v)/3")(values)`.

    >>> Formula.parse("where(v > 0, v, 0)")(np.array([-1.0, 0.5])).tolist()
    [0.0, 0.5]
    """

    text: str
    _evaluate: _Evaluate = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_evaluate", _Compiler(self.text).formula())

    @classmethod
    def parse(cls, text: str) -> Formula:
        """Reads a formula; SpecError, with the place, on anything that is not in the list above."""
        return cls(text)

    def __call__(self, values: NDArray[Any]) -> Array:
        """The formula's value for every value, same shape, float64; nan or inf where it has none."""
        v = np.asarray(values, dtype=np.float64)
        with np.errstate(all="ignore"):
            return np.array(np.broadcast_to(_real(self._evaluate(v)), v.shape))


def _real(value: object) -> Array:
    """float64, so that truth can be subtracted and `9**9**9` overflows at once instead of filling memory."""
    return np.asarray(value, dtype=np.float64)


def _function(ufunc: Callable[..., Any], arguments: list[_Evaluate]) -> _Evaluate:
    return lambda v: _real(ufunc(*(argument(v) for argument in arguments)))


def _where(condition: Array, yes: Array, no: Array) -> Array:
    return np.where(condition != 0, yes, no)


@dataclass(frozen=True)
class _Compiler:
    """Turns the syntax tree of `text` into nested numpy calls; `_place` maps a node back to the text."""

    text: str

    def formula(self) -> _Evaluate:
        if not self.text.strip():
            raise SpecError("a formula is missing", self.text, 0, allowed=("v", "abs(v)", "(2+v)/3", "…"))
        if len(self.text) > _LONGEST:
            raise SpecError(
                f"a formula has at most {_LONGEST} characters", self.text[: _LONGEST + 1], _LONGEST
            )
        return self._compile(self._tree(), 0)

    @property
    def _source(self) -> str:
        """One line, as ast.parse wants it; every character stays `_indent` places from where it was."""
        return "".join(" " if c.isspace() else c for c in self.text).lstrip()

    @property
    def _indent(self) -> int:
        return len(self.text) - len(self.text.lstrip())

    def _tree(self) -> ast.expr:
        try:
            with warnings.catch_warnings():
                # "1if v else 0" is legal and only looks odd; newer Pythons warn about it.
                warnings.simplefilter("ignore")
                return ast.parse(self._source, mode="eval").body
        except SyntaxError as error:
            # Python reports offset 0 where the text ends in the middle of something.
            at = self._indent + error.offset - 1 if error.offset else len(self.text)
            raise SpecError(f"this is not a formula: {error.msg}", self.text, at) from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise SpecError(f"this is not a formula: {error}", self.text, 0) from None

    def _place(self, node: ast.expr) -> tuple[int, int]:
        raw = self._source.encode()
        ends = (node.col_offset, len(raw) if node.end_col_offset is None else node.end_col_offset)
        start, end = (self._indent + len(raw[:offset].decode()) for offset in ends)
        return start, end

    def _refuse(self, node: ast.expr, message: str, allowed: tuple[str, ...] = ()) -> NoReturn:
        raise SpecError(message, self.text, *self._place(node), allowed)

    def _compile(self, node: ast.expr, depth: int) -> _Evaluate:
        if depth > _DEEPEST:
            self._refuse(node, f"this is nested more than {_DEEPEST} levels deep")
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        if isinstance(node, ast.Compare):
            return self._comparison(node, depth)
        return self._operation(node, depth)

    def _operation(self, node: ast.expr, depth: int) -> _Evaluate:
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            return self._apply(_BINARY[type(node.op)], [node.left, node.right], depth)
        if isinstance(node, ast.UnaryOp):
            return self._apply(_UNARY[type(node.op)], [node.operand], depth)
        if isinstance(node, ast.BoolOp):
            both = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            parts = [self._compile(value, depth + 1) for value in node.values]
            return lambda v: _real(functools.reduce(both, [part(v) for part in parts]))
        if isinstance(node, ast.IfExp):
            return self._apply(_where, [node.test, node.body, node.orelse], depth)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
            self._refuse(node, "^ is not a power here", ("v**2",))
        allowed = (
            "v",
            "numbers",
            "+ - * / // % **",
            "< <= > >= == !=",
            "and or not",
            "a if c else b",
            "functions",
        )
        self._refuse(node, "this is not allowed in a formula", allowed)

    def _apply(self, ufunc: Callable[..., Any], nodes: list[ast.expr], depth: int) -> _Evaluate:
        return _function(ufunc, [self._compile(node, depth + 1) for node in nodes])

    def _constant(self, node: ast.Constant) -> _Evaluate:
        if type(node.value) not in (int, float, bool):
            self._refuse(node, "only numbers may stand here", ("1", "0.5", "2e-3"))
        try:
            value = float(node.value)  # type: ignore[arg-type]
        except OverflowError:
            self._refuse(node, "this number is too large")
        return lambda v: _real(value)

    def _name(self, node: ast.Name) -> _Evaluate:
        if node.id == "v":
            return lambda v: v
        if node.id in FUNCTIONS:
            arguments = ", ".join(["v", "…", "…"][: FUNCTIONS[node.id]])
            self._refuse(node, f"{node.id} is a function", (f"{node.id}({arguments})",))
        if node.id not in _CONSTANTS:
            self._refuse(node, f"nothing is called {node.id} here", ("v", *_CONSTANTS, "functions"))
        constant = _CONSTANTS[node.id]
        return lambda v: _real(constant)

    def _call(self, node: ast.Call, depth: int) -> _Evaluate:
        if not isinstance(node.func, ast.Name):
            self._refuse(node.func, "a function is called by its plain name", ("abs(v)",))
        name = node.func.id
        if name not in FUNCTIONS:
            self._refuse(node.func, f"there is no function {name}", tuple(FUNCTIONS))
        if node.keywords:
            self._refuse(node.keywords[0].value, f"{name} takes its arguments without names")
        if len(node.args) != FUNCTIONS[name]:
            plural = "argument" if FUNCTIONS[name] == 1 else "arguments"
            self._refuse(node, f"{name} takes {FUNCTIONS[name]} {plural}, {len(node.args)} given")
        # Where a condition is a number; and np.fix is on its way out of numpy.
        own: Mapping[str, Callable[..., Any]] = {"where": _where, "fix": np.trunc}
        return self._apply(own.get(name) or getattr(np, name), node.args, depth)

    def _comparison(self, node: ast.Compare, depth: int) -> _Evaluate:
        """`a < b < c` is `a < b and b < c`, as in Python; each side is evaluated once, as there."""
        sides = [self._compile(side, depth + 1) for side in (node.left, *node.comparators)]
        if not all(type(op) in _COMPARE for op in node.ops):
            self._refuse(node, "this comparison is not allowed", ("<", "<=", ">", ">=", "==", "!="))
        ufuncs = [_COMPARE[type(op)] for op in node.ops]

        def evaluate(v: Array) -> Array:
            values = [side(v) for side in sides]
            triples = zip(ufuncs, values, values[1:], strict=False)
            return _real(_all(ufunc(left, right) for ufunc, left, right in triples))

        return evaluate


def _all(truths: Iterable[Any]) -> Any:
    return functools.reduce(np.logical_and, truths)
