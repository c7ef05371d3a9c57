"""`tests_require`, where projects of setuptools once said what their tests need. Read, never executed."""

from __future__ import annotations

import ast
import configparser
from pathlib import Path

from penstock_pytest.files import logical_lines


def tests_require(root: Path) -> tuple[str, tuple[str, ...]]:
    """The file that says it, and the requirements that stand there as they are; nothing where none does."""
    found = (("setup.cfg", _of_cfg(root / "setup.cfg")), ("setup.py", _of_script(root / "setup.py")))
    return next(((file, lines) for file, lines in found if lines), ("", ()))


def _of_cfg(path: Path) -> tuple[str, ...]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, ValueError):
        return ()
    return tuple(logical_lines(parser.get("options", "tests_require", fallback="").replace(";\n", "\n")))


def _of_script(path: Path) -> tuple[str, ...]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return ()
    lists = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "tests_require":
            value = lists.get(node.value.id, node.value) if isinstance(node.value, ast.Name) else node.value
            return _strings(value)
    return ()


def _strings(node: ast.expr) -> tuple[str, ...]:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return ()  # worked out while it runs: not for us to say
    words = value if isinstance(value, list | tuple | set) else [value]
    return tuple(word for word in words if isinstance(word, str))
