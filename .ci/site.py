"""Builds the documentation as a site: docs/, the README, a page per family, the Python API.

A page per family is drawn from its card, the shipped bounds and the tables of docs/audit.md, so
that it says what the code does. Needs no network: python .ci/site.py
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest_sae
from pytest_sae.families.card import SUITES, Card
from pytest_sae.families.registry import cards
from pytest_sae.numbers.keys import metric_key
from pytest_sae.numbers.metric_spec import MetricSpec

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
_BETTER = {"higher": "higher is better", "lower": "lower is better", "none": "a description"}


def main() -> int:
    """Write the pages and build the site; return the exit status of the builder."""
    shutil.rmtree(BUILD / "docs", ignore_errors=True)
    shutil.copytree(ROOT / "docs", BUILD / "docs")
    for name, text in pages().items():
        path = BUILD / "docs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    named = [f'{{ "{card.name}" = "metrics/{card.name}.md" }},' for card in cards()]
    config = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    (BUILD / "zensical.toml").write_text(
        config.replace("# families", "\n        ".join(named)), encoding="utf-8"
    )
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    return subprocess.run([*command, "--config-file", str(BUILD / "zensical.toml")]).returncode


def pages() -> dict[str, str]:
    """Return the pages that are drawn, by file."""
    families = {f"metrics/{card.name}.md": family_page(card) for card in cards()}
    return {"index.md": first_page(), "api.md": api_page(), **families}


def first_page() -> str:
    """Return the README with its links as the site has them."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.sub(r"\]\(docs/", "](", readme)


def api_page() -> str:
    """Return the page of all that the package offers by name."""
    names = [each for each in pytest_sae.__all__ if not each.startswith("__")]
    objects = "\n\n".join(f"::: pytest_sae.{name}" for name in names)
    return (
        "# Python API\n\nWhat `pytest_sae` offers by name; formulas, units and sources of the "
        f"metrics are in the docstrings of `pytest_sae.metrics`.\n\n{objects}\n"
    )


def family_page(card: Card) -> str:
    """Return what one family means, needs, is held to, and whether the audit believes it."""
    parts = (
        f"# {card.title}",
        f"Family `{card.name}`; code version {card.code}.",
        "## Its numbers",
        _numbers(card),
        "## What it needs",
        "\n".join(f"- {each}" for each in _needs(card)),
        "## What is asked of it",
        _asked(card),
        "## Whether to believe it",
        _audited(card),
    )
    return "\n\n".join(parts) + "\n"


def _numbers(card: Card) -> str:
    rows = [_number(spec) for spec in card.metrics]
    return "| number | says | better | range | measured at |\n|---|---|---|---|---|\n" + "\n".join(
        rows
    )


def _number(spec: MetricSpec) -> str:
    at = ", ".join(filter(None, (_setting(spec.name, each) for each in spec.settings)))
    name = f"**`{spec.name}`**" if spec.headline else f"`{spec.name}`"
    unit = f", in {spec.unit}" if spec.unit else ""
    better = _BETTER[spec.direction]
    return f"| {name} | {spec.title}{unit} | {better} | {_range(spec)} | {at or '-'} |"


def _setting(name: str, params: Mapping[str, Any]) -> str:
    return metric_key(name, params).partition(":")[2]


def _range(spec: MetricSpec) -> str:
    if spec.low is None and spec.high is None:
        return "any"
    low = "-∞" if spec.low is None else f"{spec.low:g}"
    high = "∞" if spec.high is None else f"{spec.high:g}"
    return f"{low} to {high}"


def _needs(card: Card) -> Iterator[str]:
    if card.reads:
        tables = ", ".join(f"`[[{each}]]`" for each in card.reads)
        yield f"labelled tasks ([texts](../texts.md)): any of {tables}"
    if card.predicts:
        yield "a model that predicts next tokens"
    if card.judged:
        yield "a [judge](../judge.md)"
    for each in sorted(card.uses - {"judge"}):
        yield f"a {each} (`--sae-{each}`)"
    if not (card.reads or card.predicts or card.uses):
        yield "the texts of `[corpus]`"
    for suite in SUITES:
        sizes = card.sizes.get(suite, {})
        if sizes:
            told = ", ".join(f"{name} {'all' if n is None else n}" for name, n in sizes.items())
            yield f"in the suite `{suite}`: {told}"
    if card.cheap_controls:
        controls = ", ".join(f"`{each}`" for each in card.cheap_controls)
        yield f"measured beside it: {controls} ([controls](../metrics.md#controls))"


def _asked(card: Card) -> str:
    path = ROOT / "evals" / "thresholds.toml"
    rules = tomllib.loads(path.read_text(encoding="utf-8"))["metrics"]
    names = {spec.name for spec in card.metrics}
    own = {key: rule for key, rule in rules.items() if key.partition(":")[0] in names}
    rows = [f"| `{key}` | {_rule(rule)} | {rule.get('reason', '')} |" for key, rule in own.items()]
    if not rows:
        return "The shipped bounds say nothing of it: only a baseline is compared with."
    return "| key | by default | reason |\n|---|---|---|\n" + "\n".join(rows)


def _rule(rule: Mapping[str, Any]) -> str:
    if not rule.get("gate", True):
        return "recorded, judged by nothing"
    told = [f"`{name} = {_toml(value)}`" for name, value in rule.items() if name != "reason"]
    return ", ".join(told)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(each)}" for name, each in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else f"{value:g}"


def _audited(card: Card) -> str:
    lines = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8").splitlines()
    names = {spec.name for spec in card.metrics}
    start = next(i for i, line in enumerate(lines) if line.startswith("| metric | noise"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        if line.split("|")[1].strip().partition(":")[0] in names:
            rows.append(line)
    if not rows:
        told = "measured on worlds whose truth is known, but not in its last run"
        return f"In [the audit](../audit.md) it is {told if card.audited else 'not measured'}."
    told = "What [the audit](../audit.md) found on worlds whose truth is known:"
    return "\n".join((told, "", *lines[start : start + 2], *rows))


if __name__ == "__main__":
    raise SystemExit(main())
