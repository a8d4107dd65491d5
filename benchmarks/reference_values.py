"""What good, early and worthless SAEs get under every headline metric: docs/reference.md.

    python -m benchmarks.reference_values PLAN.toml --root DIR --out DIR [--suite standard] \\
        [--document docs/reference.md] [OPTIONS OF THE RUN, such as --sae-judge=NAME ...]

A plan names models, and of each its SAEs by what they are worth:

    ["stories3M"]
    about = "Llama, 3 million parameters; output of block 3"
    model = "stories/model"              # left out where the SAEs say
    data = "stories/tasks.toml"          # as --sae-data
    controls = ["random_tied"]           # worthless ones made by the run, of the first SAE
    good."TopK" = "stories/saes/topk"    # as --sae; likewise `early` and `worthless`

Names that are there below --root are paths; others are passed on as they are (`hf:...`). Every
model is one run of the suite, kept in --out; what is there is not run again. Which metrics are
headlines, and at which setting, the cards of the families say. Plans beside this file:
reference_small.toml (of what foreign_worlds.py makes), reference_gemma.toml (needs a GPU).
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pytest_sae.audit.document import BY_HAND, handwritten
from pytest_sae.families.registry import cards
from pytest_sae.numbers.estimate import Param
from pytest_sae.numbers.keys import metric_key
from pytest_sae.numbers.metric_spec import MetricSpec
from pytest_sae.records.report import NAME, Report
from pytest_sae.records.schema import read_report

INTRODUCTION = """# What to hold your numbers to

Every headline metric of SAEs that were trained to the end, that were stopped early, and that are
worthless, at the size `standard`: value ± standard error. *Told apart* says by how many standard
errors of the difference the least of those that were trained to the end is above the best of the
worthless: below 2 or so, a bound that you set there is met by what is worth nothing. Absolute
values depend on the model, the tasks and the width of the SAE; what carries over is how far the
columns are from each other.

Made of what `benchmarks/foreign_worlds.py` makes in DIR:

```
python -m benchmarks.reference_values benchmarks/reference_small.toml --root DIR --out REPORTS \\
    --document docs/reference.md
```

A plan of your own names your models and SAEs in its place. Gemma Scope, with a GPU and the hub:

```
python -m benchmarks.reference_values benchmarks/reference_gemma.toml --out REPORTS \\
    --document reference-gemma.md --sae-device=cuda
```"""


class Figure(Protocol):
    """A value of an SAE or of a control."""

    @property
    def value(self) -> float | None: ...
    @property
    def se(self) -> float | None: ...
    @property
    def status(self) -> str: ...


@dataclass(frozen=True)
class Planned:
    """One model of a plan; SAEs stand under their labels, as --sae.

    Args:
        name: of the model, as the document calls it.
        good: trained to the end.
        data: as --sae-data.
        early: stopped early, counted as neither.
        worthless: to be told from the good ones.
        about: what the model and the SAEs are.
        model: as --sae-model, empty where the SAEs say.
        controls: worthless ones that the run makes of the first SAE.
    """

    name: str
    good: Mapping[str, str]
    data: str
    early: Mapping[str, str] = field(default_factory=dict)
    worthless: Mapping[str, str] = field(default_factory=dict)
    about: str = ""
    model: str = ""
    controls: Sequence[str] = ()

    @property
    def saes(self) -> dict[str, str]:
        """All of them, in the order of columns."""
        return {**self.good, **self.early, **self.worthless}


def planned(path: Path, root: Path) -> list[Planned]:
    """Read a plan.

    Args:
        path: of the TOML file.
        root: below which its paths are.
    """

    def placed(told: Any) -> Any:
        if isinstance(told, dict):
            return {label: placed(each) for label, each in told.items()}
        return str(root / told) if isinstance(told, str) and (root / told).exists() else told

    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        Planned(
            name, **{key: each if key == "about" else placed(each) for key, each in told.items()}
        )
        for name, told in tables.items()
    ]


def run(plan: Planned, out: Path, suite: str, options: Sequence[str]) -> Report:
    """Run the suite over a model's SAEs, or read what it said before.

    Args:
        plan: what to run.
        out: directory of this model's report.
        suite: as --sae-suite.
        options: more of pytest's.

    Raises:
        SystemExit: the run did not come to its end.
    """
    if not _finished(out):
        out.mkdir(parents=True, exist_ok=True)
        root = Path(__file__).resolve().parents[1]
        with (out / "pytest.log").open("w") as log:
            subprocess.run(_command(plan, out, suite, options), cwd=root, check=False,
                           stdout=log, stderr=log)  # fmt: skip
    if not _finished(out):
        raise SystemExit(f"{out} holds no finished report: {out / 'pytest.log'} says why")
    return read_report(out / NAME)


def _finished(out: Path) -> bool:
    # Until a run has ended its report has a status that no process ends with.
    return (out / NAME).is_file() and read_report(out / NAME).exit_status >= 0


def _command(plan: Planned, out: Path, suite: str, options: Sequence[str]) -> list[str]:
    command = [sys.executable, "-m", "pytest", "evals", "-q", "-p", "no:cacheprovider", "--tb=no"]
    command += [f"--sae={each}" for each in plan.saes.values()]
    command += [f"--sae-model={plan.model}"] if plan.model else []
    command += [f"--sae-data={plan.data}", f"--sae-suite={suite}", "--sae-no-gate", "--no-sae-ci"]
    command += [f"--sae-controls={','.join(plan.controls) or 'off'}", f"--sae-report={out}"]
    return [*command, *options]


def headlines() -> Iterator[tuple[MetricSpec, Mapping[str, Param]]]:
    """Give every headline metric at one setting: over everything if it has one, else its last."""
    for card in cards():
        for spec in card.metrics:
            if spec.headline:
                yield spec, {} if {} in spec.settings else spec.settings[-1]


def section(plan: Planned, report: Report) -> str:
    """Return a model's part of the document: a line per headline metric, a column per SAE.

    Args:
        plan: of the run.
        report: that it left.
    """
    columns = [*plan.saes, *(f"{each} (control)" for each in plan.controls)]
    heading = ["metric", *columns, "told apart", "how to read it"]
    lines, absent = [f"| {' | '.join(heading)} |", f"|{'---|' * len(heading)}"], []
    for spec, params in headlines():
        key = metric_key(spec.name, params)
        figures = _figures(plan, report, key)
        if any(each is not None and each.value is not None for each in figures):
            cells = [*map(_cell, figures), told_apart(spec, plan, figures), _reading(spec)]
            lines.append(f"| `{key}` | {' | '.join(cells)} |")
        else:
            absent.append(f"`{key}` ({_cell(figures[0])})")
    silent = f"No values: {', '.join(absent)}." if absent else ""
    return "\n\n".join(filter(None, [f"## {plan.name}", plan.about, "\n".join(lines), silent]))


def _figures(plan: Planned, report: Report, key: str) -> list[Figure | None]:
    """A metric of every SAE, then of every control."""
    # Two SAEs may have one file's name: they are told apart by what was typed.
    names = {each.text: each.id for each in report.saes}
    found = {(row.sae, row.key): row for row in report.measurements}
    rows = [found.get((names[sae], key)) for sae in plan.saes.values()]
    beside = {} if rows[0] is None else {each.control: each for each in rows[0].controls}
    return [*rows, *(beside.get(name) for name in plan.controls)]


def _cell(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return "-" if figure is None else figure.status.replace("_", " ")
    error = "" if figure.se is None else f" ± {figure.se:.1g}"
    # What is left of a difference of equal sums says nothing.
    value = 0.0 if abs(figure.value) < 1e-9 else figure.value
    return f"{value:.3g}{error}"


def told_apart(spec: MetricSpec, plan: Planned, figures: Sequence[Figure | None]) -> str:
    """Return by how many standard errors the least good one is above the best worthless one.

    Args:
        spec: of the metric.
        plan: says who is worth what.
        figures: of its SAEs and controls, in their order.

    Returns:
        In words; below 0 where a worthless one is above a good one.
    """
    sign = {"higher": 1, "lower": -1}.get(spec.direction)
    of_good, of_bad = (
        [each for each in part if each is not None and each.value is not None]
        for part in (figures[: len(plan.good)], figures[len(plan.good) + len(plan.early) :])
    )
    if sign is None or not of_good or not of_bad:
        return "-"
    worst = min(of_good, key=lambda each: sign * (each.value or 0.0))
    best = max(of_bad, key=lambda each: sign * (each.value or 0.0))
    gap = sign * ((worst.value or 0.0) - (best.value or 0.0))
    error = math.hypot(worst.se or 0.0, best.se or 0.0)
    return f"{gap / error:+.0f} se" if error else "yes" if gap > 0 else "no"


def _reading(spec: MetricSpec) -> str:
    better = {"none": "a budget, no quality"}.get(spec.direction, f"{spec.direction} is better")
    limits = [
        f"{word} {limit:g}"
        for word, limit in (("at least", spec.low), ("at most", spec.high))
        if limit is not None
    ]
    chance = [f"a guess gets {spec.chance:g}"] if spec.chance else []
    return f"{spec.title}; {', '.join([better, *limits, *chance])}"


def document(sections: Sequence[str], kept: str) -> str:
    """Return the document; what stands below the mark BY_HAND in an older one is kept."""
    return "\n\n".join([INTRODUCTION, *sections, BY_HAND, *([kept] if kept else [])]) + "\n"


def main() -> None:
    """Run what a plan names, and print the document or write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plan", type=Path)
    parser.add_argument("--root", type=Path, default=Path(), help="below which a plan's paths are")
    parser.add_argument("--out", type=Path, required=True, help="directory of the reports")
    parser.add_argument("--suite", default="standard", help="sizes, as --sae-suite")
    parser.add_argument(
        "--document", type=Path, help="file that is drawn again; else it is printed"
    )
    told, options = parser.parse_known_args()
    sections = [
        section(each, run(each, told.out.resolve() / each.name, told.suite, options))
        for each in planned(told.plan, told.root.resolve())
    ]
    there = told.document is not None and told.document.is_file()
    text = document(sections, handwritten(told.document.read_text("utf-8")) if there else "")
    if told.document is None:
        print(text)
    else:
        told.document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
