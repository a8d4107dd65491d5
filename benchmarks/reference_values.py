"""What good, early and worthless SAEs get under every headline metric: docs/reference.md.

    python -m benchmarks.reference_values PLAN.toml --root DIR --out DIR [--suite standard] \\
        [--document docs/reference.md] [OPTIONS OF THE RUN, such as --sae-judge=NAME ...]

A plan names models, and of each its SAEs by what they are:

    ["stories3M"]
    about = "Llama, 3 million parameters; output of block 3"
    model = "stories/model"              # left out where the SAEs say
    data = "stories/tasks.toml"          # as --sae-data
    controls = ["random_tied"]           # columns made by the run, beside the first SAE
    saes."TopK" = "stories/saes/topk"    # as --sae

Names that are there below --root are paths; others are passed on as they are (`hf:...`). Every
model is one run of the suite, kept in --out; what is there is not run again. Which metrics are
headlines, and at which setting, the cards of the families say. Plans beside this file:
reference_small.toml (of what foreign_worlds.py makes), reference_gemma.toml (needs a GPU).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_sae.audit.document import BY_HAND, handwritten
from pytest_sae.families.registry import cards
from pytest_sae.numbers.estimate import Param
from pytest_sae.numbers.keys import metric_key
from pytest_sae.numbers.metric_spec import MetricSpec
from pytest_sae.records.report import NAME, Report
from pytest_sae.records.row import Row
from pytest_sae.records.schema import read_report

INTRODUCTION = """# What to hold your numbers to

Every headline metric of SAEs that were trained to the end, that were stopped early, and that are
worthless, at the size `standard`: value ± standard error. A metric is of use on a model where
columns of the last kind are below those of the first by more than their errors; where
they are not, a bound that you set there is met by anything. Absolute values depend on the model,
the tasks and the width of the SAE: what carries over is how far the columns are from each other."""


@dataclass(frozen=True)
class Planned:
    """One model of a plan.

    Args:
        name: of the model, as the document calls it.
        saes: by what they are, as --sae.
        data: as --sae-data.
        about: what the model and the SAEs are.
        model: as --sae-model, empty where the SAEs say.
        controls: measured beside the first SAE, as columns of their own.
    """

    name: str
    saes: Mapping[str, str]
    data: str
    about: str = ""
    model: str = ""
    controls: Sequence[str] = field(default=())


def planned(path: Path, root: Path) -> list[Planned]:
    """Read a plan.

    Args:
        path: of the TOML file.
        root: below which its paths are.
    """

    def placed(name: str) -> str:
        return str(root / name) if name and (root / name).exists() else name

    found = []
    for name, told in tomllib.loads(path.read_text(encoding="utf-8")).items():
        saes = {label: placed(sae) for label, sae in told.pop("saes").items()}
        paths = {key: placed(told.pop(key)) for key in ("model", "data") if key in told}
        found.append(Planned(name, saes, **paths, **told))
    return found


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
    lines = [
        f"| metric | {' | '.join(columns)} | how to read it |",
        f"|---{'|---' * len(columns)}|---|",
    ]
    absent = {}
    for spec, params in headlines():
        key = metric_key(spec.name, params)
        rows = _rows(plan, report, key)
        if any(row is not None and row.value is not None for row in rows):
            cells = [*map(_cell, rows), *(_control(rows[0], each) for each in plan.controls)]
            lines.append(f"| `{key}` | {' | '.join(cells)} | {_reading(spec)} |")
        else:
            absent[key] = _cell(rows[0])
    told = ", ".join(f"`{key}` ({status})" for key, status in absent.items())
    parts = [f"## {plan.name}", plan.about, "\n".join(lines), f"No values: {told}." if told else ""]
    return "\n\n".join(filter(None, parts))


def _rows(plan: Planned, report: Report, key: str) -> list[Row | None]:
    # Two SAEs may have one file's name: they are told apart by the path that was given.
    names = {each.text or each.path: each.id for each in report.saes}
    found = {(row.sae, row.key): row for row in report.measurements}
    return [found.get((names[sae], key)) for sae in plan.saes.values()]


def _cell(row: Row | None) -> str:
    return "-" if row is None else _figure(row.value, row.se, row.status)


def _control(row: Row | None, name: str) -> str:
    found = next((each for each in row.controls if each.control == name), None) if row else None
    return "-" if found is None else _figure(found.value, found.se, found.status)


def _figure(value: float | None, se: float | None, status: str) -> str:
    if value is None:
        return status.replace("_", " ")
    return f"{round(value, 4):.3g}" + ("" if se is None else f" ± {se:.1g}")


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
