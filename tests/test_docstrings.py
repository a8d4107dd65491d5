"""What the docstrings of public functions say: each argument, what comes back, a true example."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from textwrap import indent

import pytest

import pytest_sae

ROOT = Path(pytest_sae.__file__).parent
FIGURES = ("numbers", "metrics", "probes")  # what comes back needs a range and a direction
EXAMPLES = ("numbers", "metrics")  # whose functions are pure
FORMATS = "dictionaries/formats/"
# Summaries that say what comes back.
GIVING = ("Return ", "Give ", "Yield ", "Whether ")

FILES = sorted(file.relative_to(ROOT).as_posix() for file in ROOT.rglob("*.py"))
FIGURE_FILES = [file for file in FILES if file.split("/")[0] in FIGURES]


def gaps_of(file: str) -> list[str]:
    """What the docstrings of the public functions of a file of the package leave out."""
    room = file.split("/")[0]
    return gaps(
        (ROOT / file).read_text(),
        examples=room in EXAMPLES,
        giving=() if room in FIGURES else GIVING,
        protocol=_protocol() if file.startswith(FORMATS) else {},
    )


def gaps(
    source: str,
    *,
    examples: bool = False,
    giving: tuple[str, ...] = (),
    protocol: Mapping[str, list[str]] | None = None,
) -> list[str]:
    """What the docstrings of the public functions of a module leave out.

    Args:
        source: of the module.
        examples: whether each function needs an example with a value.
        giving: beginnings of a summary that stand for `Returns:`.
        protocol: by name, the arguments of functions that are described once, elsewhere.
    """
    found = []
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        if not _filled_by_pytest(node) and (protocol or {}).get(node.name) != _arguments(node):
            found += [f"{node.name}: {each}" for each in _gaps(node, examples, giving)]
    return found


def _gaps(node: ast.FunctionDef, examples: bool, giving: tuple[str, ...]) -> list[str]:
    told = ast.get_docstring(node) or ""
    names = _arguments(node)
    found = []
    if len(names) >= 2:
        found += [f"no entry for {name}" for name in names if name not in _described(told)]
        said = told.startswith(giving) or {"Returns:", "Yields:"} & set(told.splitlines())
        if not said and not _returns_nothing(node):
            found.append("no Returns")
    if examples and not any(each.want for each in doctest.DocTestParser().get_examples(told)):
        found.append("no example with a value")
    return found


def _filled_by_pytest(node: ast.FunctionDef) -> bool:
    """Whether it is a hook or a fixture, whose arguments are pytest's."""
    decorators = [ast.unparse(each) for each in node.decorator_list]
    return node.name.startswith("pytest_") or any("pytest.fixture" in each for each in decorators)


@cache
def _protocol() -> dict[str, list[str]]:
    """By method, the arguments of what every module of a format offers."""
    registry = ast.parse((ROOT / FORMATS / "registry.py").read_text())
    family = next(
        each for each in registry.body if isinstance(each, ast.ClassDef) and each.name == "Format"
    )
    methods = [each for each in family.body if isinstance(each, ast.FunctionDef)]
    return {each.name: _arguments(each)[1:] for each in methods}


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
    # An iterator over None is the body of a `with`.
    return node.returns is not None and ast.unparse(node.returns) in ("None", "Iterator[None]")


@pytest.mark.parametrize("file", FILES)
def test_public_functions_say_what_goes_in_and_comes_out(file: str) -> None:
    assert gaps_of(file) == []


@pytest.mark.parametrize("file", FIGURE_FILES)
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
    assert gaps("def _f(a, b): ...\ndef g(a): ...\ndef h(a, b) -> None: ...") == [
        "h: no entry for a",
        "h: no entry for b",
    ]


@pytest.mark.parametrize(
    ("summary", "annotation", "found"),
    [
        ("Return the quotient.", "float", []),
        ("Whether a divides b.", "bool", []),
        ("Returning is not said.", "float", ["divide: no Returns"]),
        ("Divide.", "float", ["divide: no Returns"]),
        ("Divide.\n\n    Yields:\n        The quotient.", "Iterator[float]", []),
        ("Divide for a while.", "Iterator[None]", []),
        ("Refuse what cannot be divided.", "None", []),
    ],
)
def test_a_summary_may_say_what_comes_back(summary: str, annotation: str, found: list[str]) -> None:
    told = f'"""{summary}\n\n    Args:\n        a: one.\n        b: two.\n    """'
    source = f"def divide(a, b) -> {annotation}:\n    {told}\n"
    assert gaps(source, giving=GIVING) == found


def test_what_pytest_fills_and_what_a_format_offers_is_described_elsewhere() -> None:
    told = ["no entry for a", "no entry for b"]
    hook = "def pytest_thing(a, b) -> None: ...\n"
    fixture = "@pytest.fixture(scope='session')\ndef thing(a, b) -> None: ...\n"
    offered = "def build(a, b) -> None: ...\n"
    assert gaps(hook + fixture + offered, protocol={"build": ["a", "b"]}) == []
    assert gaps(offered, protocol={"build": ["a"]}) == [f"build: {each}" for each in told]


def test_the_protocol_of_formats_is_that_of_the_registry() -> None:
    assert _protocol() == {"recognise": ["content"], "build": ["content", "device", "dtype"]}
