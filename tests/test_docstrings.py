"""What the docstrings of public functions say: each argument, what comes back, a true example."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from pathlib import Path
from textwrap import indent

import pytest

import pytest_sae

ROOT = Path(pytest_sae.__file__).parent
PACKAGES = ("numbers", "metrics", "probes")
EXAMPLES = ("numbers", "metrics")  # whose functions are pure

FILES = sorted(
    file.relative_to(ROOT).as_posix() for name in PACKAGES for file in (ROOT / name).glob("*.py")
)


def gaps(source: str, examples: bool) -> list[str]:
    """What the docstrings of the public functions of a module leave out."""
    found = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            found += [f"{node.name}: {each}" for each in _gaps(node, examples)]
    return found


def _gaps(node: ast.FunctionDef, examples: bool) -> list[str]:
    told = ast.get_docstring(node) or ""
    names = _arguments(node)
    found = []
    if len(names) >= 2:
        found += [f"no entry for {name}" for name in names if name not in _described(told)]
        if not _returns_nothing(node) and "Returns:" not in told.splitlines():
            found.append("no Returns")
    if examples and not any(each.want for each in doctest.DocTestParser().get_examples(told)):
        found.append("no example with a value")
    return found


def _arguments(node: ast.FunctionDef) -> list[str]:
    given = node.args
    every = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    return [each.arg for each in every if each is not None]


def _described(told: str) -> list[str]:
    """Names of the arguments under `Args:`."""
    _, _, after = f"\n{told}\n".partition("\nArgs:\n")
    section = re.match(r"(?:(?:    .*)?\n)*", after)
    return re.findall(r"^    (\w+): \S", section[0] if section else "", re.MULTILINE)


def _returns_nothing(node: ast.FunctionDef) -> bool:
    return isinstance(node.returns, ast.Constant) and node.returns.value is None


@pytest.mark.parametrize("file", FILES)
def test_public_functions_say_what_goes_in_and_comes_out(file: str) -> None:
    assert gaps((ROOT / file).read_text(), file.split("/")[0] in EXAMPLES) == []


@pytest.mark.parametrize("file", FILES)
def test_examples_are_true(file: str) -> None:
    name = "pytest_sae." + file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize(
    ("docstring", "found"),
    [
        ("Divide.", ["no entry for a", "no entry for b", "no Returns", "no example with a value"]),
        (
            "Divide.\n\nArgs:\n    a: one.\n\nReturns:\n    b: x\n\n>>> 1\n1",
            ["no entry for b"],
        ),
        (
            "Divide.\n\nArgs:\n    a: one.\n        c: of it.\n    b: two.\n\n>>> x = 1",
            ["no Returns", "no example with a value"],
        ),
    ],
)
def test_a_gap_is_found(docstring: str, found: list[str]) -> None:
    body = indent(f'"""{docstring}\n"""\nreturn a / b', "    ")
    source = f"def divide(a: int, b: int) -> float:\n{body}\n"
    assert gaps(source, examples=True) == [f"divide: {each}" for each in found]


def test_private_functions_and_those_of_one_argument_need_no_sections() -> None:
    assert gaps("def _f(a, b): ...\ndef g(a): ...\ndef h(a, b) -> None: ...", False) == [
        "h: no entry for a",
        "h: no entry for b",
    ]
