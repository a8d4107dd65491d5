"""Private names of other packages: every one that the package uses, and that it is still there.

A dependency may drop such a name without notice, and `getattr` with a default would hide it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_sae

ROOT = Path(pytest_sae.__file__).parent
#: By file: what has no public equivalent. Each has a test below that fails when it goes.
USED = {
    # A provider's own price; litellm documents this place for it.
    ("judge/provider.py", "_hidden_params"),
    # How a scheduler of one's own is written for xdist.
    ("run/scheduler.py", "_reschedule"),
    ("run/scheduler.py", "_pending_of"),
    # Properties of the whole suite, from the controller of a distributed run.
    ("reports/junit.py", "_pytest"),
}


def private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def own_names(tree: ast.AST) -> Iterator[str]:
    """Names that a module of ours defines, as functions, classes, variables or attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr


def asked_by_name(node: ast.Call) -> bool:
    called = node.func.id if isinstance(node.func, ast.Name) else ""
    return called in ("getattr", "hasattr", "setattr", "delattr") and len(node.args) > 1


def of_super(node: ast.Attribute) -> bool:
    value = node.value
    called = value.func if isinstance(value, ast.Call) else None
    return isinstance(called, ast.Name) and called.id == "super"


def used_names(tree: ast.AST, own: set[str]) -> Iterator[str]:
    """Private names that a module takes from others: attributes, `getattr`, and imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (node.attr not in own or of_super(node)):
            yield node.attr
        elif isinstance(node, ast.Call) and asked_by_name(node):
            asked = node.args[1]
            yield str(asked.value) if isinstance(asked, ast.Constant) else ""
        elif isinstance(node, ast.ImportFrom) and not str(node.module).startswith("pytest_sae"):
            yield from [*str(node.module).split("."), *(each.name for each in node.names)]
        elif isinstance(node, ast.Import):
            yield from (part for each in node.names for part in each.name.split("."))


def test_no_private_name_of_a_dependency_is_used_but_those_listed() -> None:
    trees = {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
        for path in ROOT.rglob("*.py")
    }
    own = {name for tree in trees.values() for name in own_names(tree)}
    found = {
        (file, name)
        for file, tree in trees.items()
        for name in used_names(tree, own)
        if private(name)
    }
    assert found == USED


def test_xdist_still_has_what_our_scheduler_replaces_and_calls() -> None:
    from xdist.scheduler import LoadScopeScheduling

    from pytest_sae.run.scheduler import SAEScheduling

    replaced = {name for name in vars(SAEScheduling) if private(name)}
    assert replaced == {"_split_scope", "_reschedule"}
    for name in (*replaced, "_pending_of"):
        assert callable(getattr(LoadScopeScheduling, name)), name


def test_pytest_still_keeps_its_junit_file_where_we_look() -> None:
    from _pytest.junitxml import LogXML, xml_key

    assert xml_key is not None
    assert callable(LogXML.add_global_property)


def test_litellm_still_says_the_price_where_we_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it would ask the network
    import litellm

    said = litellm.completion(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "a"}], mock_response="b"
    )
    assert said._hidden_params["response_cost"] > 0
