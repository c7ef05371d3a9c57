"""`when`: the text of a condition → its tree, which `terms` decides. Pure.

The text is never handed to Python: what is not in this grammar does not exist.

    condition  = some ; true or false
    some       = every { "or" every }
    every      = denied { "and" denied }
    denied     = "not" denied | compared
    compared   = value [ ( "==" | "!=" | "in" | "not in" ) value ]
    value      = text | number | "true" | "false" | list | fact | call | "(" some ")"
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from penstock.errors import ConfigError, did_you_mean
from penstock.terms import (
    REVISION,
    WORDS,
    Changed,
    Compare,
    Constant,
    Env,
    Fact,
    Facts,
    Join,
    Kind,
    Matches,
    Node,
    Not,
    Result,
    Value,
    cut,
    kind_of,
)
from penstock.terms import evaluate as evaluate

LONGEST = 1000
"""Characters of a condition."""
_DEEPEST = 30
"""How deep parentheses, lists and `not` may nest."""
RESULTS = ("passed", "failed", "refused", "skipped")
"""What `result` may be; a result that was taken from an earlier run counts as what it was there."""
_CALLS = {
    "env": 'env("NAME")',
    "result": 'result("test.unit")',
    "changed": 'changed("src/**")',
    "changed_only": 'changed_only("docs/**")',
    "matches": 'matches(ref, "release/*")',
}
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
        |(?P<number>-?\d{1,15}(?:\.\d{1,15})?)(?![\w.])
        |(?P<word>[A-Za-z_]\w*(?:\.[\w-]+)*)
        |(?P<sign>==|!=|[()\[\],])
    )""",
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_MEANT = {
    "=": "two values are compared with ==",
    "&": 'write "and"',
    "|": 'write "or"',
    "!": 'write "not", or !=',
    "<": "values are compared with == and !=",
    ">": "values are compared with == and !=",
    '"': "a string is not closed",
    "'": "a string is not closed",
}


def parse(text: str, known: Facts) -> Node:
    """The tree of a condition.

    `known` has a value for each parameter and each axis of the matrix, by names such as `param.deploy`: what
    kind they are of is what counts. Raises ConfigError where the text is no condition.
    """
    if len(text) > LONGEST:
        raise ConfigError(f"has {len(text)} characters; at most {LONGEST} make a condition")
    return _Parser(text, known).whole()


def known(parameters: Mapping[str, object], variant: Mapping[str, object]) -> dict[str, Value]:
    """The values that a step's condition knows before the run: of parameters, and of its matrix."""
    found = {f"param.{name}": value for name, value in parameters.items()}
    found |= {f"matrix.{key}": value for key, value in variant.items()}
    return {name: _plain(value) for name, value in found.items()}


class _Parser:
    """Reads a condition once from left to right."""

    def __init__(self, text: str, known: Facts) -> None:
        self._text = text
        self._known = known
        self._tokens = list(_tokens(text))
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._some()
        if self._kind():
            raise ConfigError(f'"and" or "or" is missing before {self._here()}')
        self._must_be_condition(node)
        return node

    # --- the grammar ---

    def _some(self) -> Node:
        return self._join("or", every=False)

    def _join(self, word: str, *, every: bool) -> Node:
        start = self._at
        parts = [self._denied() if every else self._join("and", every=True)]
        while self._takes(word):
            parts.append(self._denied() if every else self._join("and", every=True))
        if len(parts) == 1:
            return parts[0]
        for part in parts:
            self._must_be_condition(part)
        return Join(every, tuple(parts), self._since(start))

    def _denied(self) -> Node:
        start = self._at
        if not self._takes("not"):
            return self._compared()
        with self._deeper():
            part = self._denied()
        self._must_be_condition(part)
        return Not(part, self._since(start))

    def _compared(self) -> Node:
        start = self._at
        left = self._one()
        sign = self._comparison()
        if sign is None:
            return left
        right = self._one()
        made = Compare(sign, left, right, self._since(start))
        self._must_fit(made)
        if self._comparison() is not None:
            raise ConfigError(f"two values at a time are compared, and here are three: {cut(self._text)}")
        return made

    def _comparison(self) -> Literal["==", "!=", "in", "not in"] | None:
        if self._takes("=="):
            return "=="
        if self._takes("!="):
            return "!="
        if self._takes("in"):
            return "in"
        if self._takes("not"):
            self._must_take("in")
            return "not in"
        return None

    def _one(self) -> Node:
        start, kind = self._at, self._kind()
        if kind in ("text", "number"):
            token = self._next()
            found = _unquoted(token) if kind == "text" else float(token) if "." in token else int(token)
            return Constant(found, token)
        if self._takes("("):
            with self._deeper():
                node = self._some()
            self._must_take(")")
            return node
        if self._takes("["):
            return Constant(self._texts("]"), self._since(start))
        if kind != "word" or self._word() in ("and", "or", "in", "not"):
            raise ConfigError(f"a value is missing {self._before_here()}")
        name = self._next()
        if name in ("true", "false", "True", "False"):
            return Constant(name.lower() == "true", name)
        if self._takes("("):
            return self._call(name, start)
        return self._fact(name)

    def _call(self, name: str, start: int) -> Node:
        if name not in _CALLS:
            raise ConfigError(f'there is no "{name}(…)" in a condition{_near(name, _CALLS)}')
        if name == "matches":
            with self._deeper():
                value = self._some()
            if self._kind_of(value) != "text":
                raise ConfigError(f"matches compares a string with globs, such as {_CALLS[name]}")
            self._must_take(",")
            return Matches(value, self._globs(name), self._since(start))
        if name in ("changed", "changed_only"):
            return Changed(self._globs(name), name == "changed_only", self._since(start))
        words = self._texts(")")
        if len(words) != 1 or not words[0]:
            raise ConfigError(f"{name} takes one name in quotes, such as {_CALLS[name]}")
        return (Env if name == "env" else Result)(words[0], self._since(start))

    def _globs(self, name: str) -> tuple[str, ...]:
        found = self._texts(")")
        if not found:
            raise ConfigError(f"{name} takes globs in quotes, such as {_CALLS[name]}")
        for glob in found:
            wrong = glob.startswith("/") or ".." in glob.split("/") or not glob.strip("./")
            if wrong or any("**" in part and part != "**" for part in glob.split("/")):
                raise ConfigError(
                    f'"{glob}" is no glob that could mean anything here. One begins at the top of the '
                    'source and is such as "docs/**", "*.md" or "**/*.py"'
                )
        return found

    def _texts(self, end: str) -> tuple[str, ...]:
        found: list[str] = []
        while not self._takes(end):
            if found:
                self._must_take(",")
                if self._takes(end):
                    break
            if self._kind() != "text":
                raise ConfigError(f"a string in quotes is missing {self._before_here()}")
            found.append(_unquoted(self._next()))
        return tuple(found)

    def _fact(self, name: str) -> Node:
        if name in REVISION or name in self._known:
            return Fact(name, name)
        if name in _CALLS:
            raise ConfigError(f'"{name}" is written as {_CALLS[name]}')
        if name in ("param", "matrix") or name.startswith(("param.", "matrix.")):
            raise ConfigError(self._no_such(name))
        names = [*REVISION, *self._known]
        wanted = f"A string stands in quotes; names are {', '.join(names)}"
        raise ConfigError(
            f'"{name}" is no name that a condition knows{did_you_mean(name, names, otherwise=wanted)}'
        )

    def _no_such(self, name: str) -> str:
        first, _, rest = name.partition(".")
        what, where = ("parameter", "[parameters]") if first == "param" else ("axis", "its matrix")
        names = [known.partition(".")[2] for known in self._known if known.startswith(f"{first}.")]
        there = ", ".join(f"{first}.{known}" for known in names)
        rule = f"There are {there}" if there else f"Declare it in {where}"
        return f'there is no {what} "{rest}"{did_you_mean(rest, names, otherwise=rule)}'

    # --- kinds ---

    def _kind_of(self, node: Node) -> Kind:
        if isinstance(node, Constant):
            return kind_of(node.value)
        if isinstance(node, Fact):
            return REVISION[node.name] if node.name in REVISION else kind_of(self._known[node.name])
        return "text" if isinstance(node, Env | Result) else "yes or no"

    def _must_be_condition(self, node: Node) -> None:
        kind = self._kind_of(node)
        if kind != "yes or no":
            like = {"number": " == 1", "list": ""}.get(kind, ' == "…"')
            way_out = f". Compare it: {cut(node.text)}{like}" if like else ""
            raise ConfigError(f"{cut(node.text)} is {WORDS[kind]}, and no condition{way_out}")

    def _must_fit(self, made: Compare) -> None:
        left, right = self._kind_of(made.left), self._kind_of(made.right)
        words = f"{cut(made.left.text)} is {WORDS[left]}, {cut(made.right.text)} is {WORDS[right]}"
        if made.sign in ("==", "!="):
            if left != right:
                raise ConfigError(f"{words}: they are never the same")
        elif left != "text" or right not in ("text", "list"):
            raise ConfigError(f'{words}: "in" asks whether a string is in a list or in another string')
        for one, other in ((made.left, made.right), (made.right, made.left)):
            if isinstance(one, Result) and isinstance(other, Constant):
                _must_be_results(other.value)

    # --- tokens ---

    def _kind(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def _word(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _takes(self, word: str) -> bool:
        if self._word() != word or self._kind() == "text":
            return False
        self._at += 1
        return True

    def _must_take(self, word: str) -> None:
        if not self._takes(word):
            raise ConfigError(f'"{word}" is missing {self._before_here()}')

    def _since(self, start: int) -> str:
        return self._text[self._tokens[start][2] : self._tokens[self._at - 1][3]]

    def _before_here(self) -> str:
        return f"before {self._here()}" if self._kind() else "at the end"

    def _here(self) -> str:
        return f'"{self._text[self._tokens[self._at][2] :][:20]}"'

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ConfigError(f"nests more than {_DEEPEST} deep. Write it more simply")
        yield
        self._depth -= 1


def _plain(value: object) -> Value:
    if isinstance(value, list | tuple):
        return tuple(str(entry) for entry in value)
    return value if isinstance(value, str | int | float | bool) else str(value)


def _tokens(text: str) -> Iterator[tuple[str, str, int, int]]:
    """Kind, text, and where it begins and ends."""
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            rest = text[position:].lstrip()
            hint = _MEANT.get(rest[0], "a condition is made of names, strings, ==, and, or, not")
            raise ConfigError(f"{json.dumps(rest[:20], ensure_ascii=False)} can't be read: {hint}")
        kind = str(match.lastgroup)
        yield kind, match[kind], match.start(kind), match.end()
        position = match.end()


def _unquoted(token: str) -> str:
    inner = token[1:-1]
    if not inner.isprintable():
        raise ConfigError("a string holds a character that can't be seen, such as a line's end")
    if re.search(r"\\[^\\\"']", inner):
        raise ConfigError(f"in {token} a backslash stands before neither a quote nor a backslash")
    return re.sub(r"\\(.)", r"\1", inner)


def _must_be_results(value: Value) -> None:
    for word in value if isinstance(value, tuple) else [value]:
        if word not in RESULTS:
            can_be = f"It is {', '.join(RESULTS[:-1])} or {RESULTS[-1]}"
            raise ConfigError(f'"{word}" is no result{did_you_mean(str(word), RESULTS, otherwise=can_be)}')


def _near(name: str, names: Mapping[str, str]) -> str:
    return did_you_mean(name, names, otherwise=f"What there is: {', '.join(names.values())}")
