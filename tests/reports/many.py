"""A report of many SAEs, whose rows have the sizes of those of a `standard` run."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace

from pytest_sae.families.registry import known, spec_of
from pytest_sae.numbers.keys import metric_key
from pytest_sae.records.plan import Item, Plan
from pytest_sae.records.report import SAE, Report
from pytest_sae.records.row import JudgedControl, Row, unmeasured_row
from pytest_sae.records.rule import AppliedRule, Tolerance
from tests.reports.examples import report

#: Of the bundled TopK in `standard`: rows, those with controls, controls of each, gated rows.
ROWS, CONTROLLED, CONTROLS, GATED = 151, 20, 4, 14
#: What report.json has of that SAE, and what the file beside it has.
BYTES, DETAILS = 82_000, 480_000


def mark(*of: object) -> str:
    return hashlib.sha256(repr(of).encode()).hexdigest()


def many(count: int, details: int = 200) -> Report:
    """Return a report of some SAEs, each of which has another value that is red.

    Args:
        count: of SAEs.
        details: characters of each row's details.
    """
    names = [f"step_{place:06d}" for place in range(count)]
    rows = [row for place, name in enumerate(names) for row in of_sae(place, name, details)]
    items = [
        Item("rule", name, metric, "evals/thresholds.toml:14")
        for name in names
        for metric in METRICS[:GATED]
    ]
    saes = [SAE(name, f"checkpoints/{name}", f"checkpoints/{name}") for name in names]
    return replace(report(rows), saes=(*saes,), plan=Plan((*items,)))


METRICS = known()


def of_sae(place: int, name: str, details: int) -> Iterator[Row]:
    draw = random.Random(place)
    for which in range(ROWS):
        metric = METRICS[which % len(METRICS)]
        params: dict[str, bool | int | float | str] = {"n": 20} if which >= len(METRICS) else {}
        case = f"test_a_family.py::test_some_family[{name}-{metric_key(metric, params)}]"
        gated, red = which < GATED, which == place % GATED
        spec, value = spec_of(metric), draw.random()
        yield replace(
            unmeasured_row(name, metric_key(metric, params), "", f"evals/{case}"),
            value=value, se=draw.random() / 100, ci=(value - draw.random(), value + draw.random()),
            n={"texts": 1000, "tokens": 45_598}, seeds=1, direction=spec.direction,
            unit=spec.unit, status="ok", rule=rule(metric, gated),
            reason=f"{value:.4f} {'<' if red else '>='} min 0.8000" if gated else told(metric),
            verdict="fail" if red else "pass" if gated else "ungated",
            outcome="failed" if red else "passed", seconds=draw.random() + which % 30,
            controls=tuple(control(name, each, draw) for each in range(CONTROLS))
            if which < CONTROLLED else (),
            peak_memory=970_240_000, worker="main", fingerprints=made(name, which % 3),
            details={"curve": "x" * details},
        )  # fmt: skip


def told(metric: str) -> str:
    return f"random weights of the same sparsity reach the value of {metric} of a trained SAE"


def rule(metric: str, gated: bool) -> AppliedRule:
    regression = Tolerance(0.0, 0.02, 3.0)
    return AppliedRule(
        metric, 0.8 if gated else None, None, None, regression, gated, None, told(metric), "",
        "evals/thresholds.toml", 14,
    )  # fmt: skip


def control(name: str, which: int, draw: random.Random) -> JudgedControl:
    value = draw.random() / 10
    return JudgedControl(
        control=f"control_{which}", expected="below", direction="higher", value=value,
        se=value / 9, ci=(value / 1.1, value * 1.1), n={"texts": 1000, "tokens": 45_598},
        status="ok", reason="", chance=0.0, fingerprint=mark(name, which), paired=value / 7,
        holds=True,
    )  # fmt: skip


def made(name: str, code: int) -> dict[str, str]:
    whole = {kind: mark(kind) for kind in ("model", "data")}
    return {"sae": mark(name), **whole, "site": "blocks.3", "suite": "standard/seed=0",
            "code": f"0.1.0/{mark(code)[:12]}"}  # fmt: skip
