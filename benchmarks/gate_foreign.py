"""What the gate says of good and worthless dictionaries of models that are not the bundled one.

    python -m benchmarks.gate_foreign --worlds DIR [--only NAME ...] [--suite smoke|standard] \\
        [--controls all|cheap|off] [--thresholds FILE] [--brief] [--output FILE.md]

DIR is what foreign_worlds.py made. `pytest evals/` runs over all dictionaries of each world; what
it reports becomes one table per metric that one direction is better of: every value with its
standard error, the rule that is red with it, and what the controls of the same run got. At the end
stand two counts: good dictionaries that are red, worthless ones that are green. With --brief it is
those and one table of what decides (docs/foreign.md).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.foreign_dictionaries import DAMAGED, GOOD, NAMES, WORTHLESS
from pytest_sae.numbers.keys import metric_key
from pytest_sae.records.report import NAME
from pytest_sae.records.schema import builtins, read_report
from pytest_sae.records.verdicts import is_red

# The tests of a world in two runs: with controls, and without where controls cost most of the time
# (or where nothing that they are asked about could gate).
WITH_CONTROLS = ("test_reconstruction.py", "test_tpp.py", "test_scr.py")
WITHOUT = (
    "test_structure.py::test_independence",
    "test_structure.py::test_description_length",
    "test_sparse_probing.py::test_few_latents_know_concepts",
    "test_sparse_probing.py::test_few_latents_beat_few_neurons",
    "test_erasure.py",
)
KINDS = {"good": GOOD, "damaged": DAMAGED, "worthless": WORTHLESS}
KIND = {name: kind for kind, names in KINDS.items() for name in names}
# What stands beside a verdict, and the control that is told with it.
TOLD = (("explained_variance", "pca"), ("ce_recovered", "pca"), ("tpp.rescaled:n=20", ""),
        ("erasure", ""))  # fmt: skip
INTRODUCTION = """# The gate on models that nobody tuned it to

Made by `python -m benchmarks.foreign_worlds` and `python -m benchmarks.gate_foreign --brief`, with
the rules of `evals/thresholds.toml`, at the size `standard`. Three small models, each with a
sibling of the same width: one trained on stories (Llama, given), one on labelled texts (GPT-NeoX),
one on a grammar (GPT-2). *good* were trained to the end; *worthless* are early checkpoints (1 %,
2 %), random weights, tied and not, all decoder rows shuffled, an SAE of another layer and one of
the sibling; *damaged* (10 % of training, 3 % of the rows shuffled) are counted as neither. The
bounds were chosen on the bundled world, `stories` and `gpt2`; `neox` was looked at after that."""
# Why a dictionary is red that was refused, or measured by nothing: no rule says so.
NOT_MEASURED = "not measured"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """What the command line asks for.

    Args:
        suite: sizes of the run.
        controls: which of them are measured.
        thresholds: file of the rules, None for the shipped ones.
        again: whether a report that is there is made anew.
    """

    suite: str
    controls: str
    thresholds: Path | None
    again: bool


@dataclass(frozen=True)
class Seen:
    """What a run said of one world.

    Args:
        world: its name.
        rows: the measurements, by dictionary.
    """

    world: str
    rows: Mapping[str, Sequence[Row]]

    def red(self, name: str) -> list[str]:
        """Return the rules that a dictionary is red by."""
        if not self.rows[name]:
            return [NOT_MEASURED]
        return [key(row) for row in self.rows[name] if is_red(row["verdict"], "passed")]


def evaluate(world: Path, asked: Asked) -> Seen:
    """Run the suite over a world's dictionaries, or read what it said before.

    Args:
        world: directory of the world.
        asked: how.
    """
    told = [
        reported(world, "controlled", WITH_CONTROLS, asked.controls, asked),
        reported(world, "plain", WITHOUT, "off", asked),
    ]
    # A directory's name is not the id that is made of it.
    names = {Path(each["path"]).name: each["id"] for each in told[0]["saes"]}
    return Seen(
        world.name,
        {
            name: [row for each in told for row in _rows_of(each, id_)]
            for name, id_ in names.items()
        },
    )


def reported(world: Path, part: str, tests: Sequence[str], controls: str, asked: Asked) -> Any:
    """Run some tests over a world's dictionaries, or read what they said before.

    Args:
        world: directory of the world.
        part: name of the run among those of the world.
        tests: files of `evals/`, or tests of them.
        controls: as --sae-controls.
        asked: how.

    Returns:
        The report, as its JSON has it.

    Raises:
        SystemExit: the run did not come to its end.
    """
    out = world / "report" / asked.suite / part
    found = None if asked.again else _finished(out)
    if found is None:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no"]
        command += [f"evals/{test}" for test in tests]
        command += [f"--sae={path}" for name in NAMES if (path := world / "saes" / name).is_dir()]
        command += [f"--sae-model={world / 'model'}", f"--sae-data={world / 'tasks.toml'}"]
        command += [f"--sae-suite={asked.suite}", f"--sae-controls={controls}", "--no-sae-ci"]
        command += [f"--sae-report={out}", f"--sae-cache={world / 'cache'}"]
        command += [f"--sae-thresholds={asked.thresholds}"] if asked.thresholds else []
        root = Path(__file__).resolve().parents[1]
        out.mkdir(parents=True, exist_ok=True)
        with (out / "pytest.log").open("w") as log:
            subprocess.run(command, cwd=root, check=False, stdout=log, stderr=log)
        found = _finished(out)
    if found is None:
        raise SystemExit(f"{out} holds no finished report: {out / 'pytest.log'} says why")
    return found


def _finished(out: Path) -> Any:
    """The report of a run that came to its end: of a part of the tests, or of all."""
    for path in (out / "partial" / NAME, out / NAME):
        if path.is_file():
            report = builtins(read_report(path))
            # Until a run has ended its report has a status that no process ends with.
            if report["exit_status"] >= 0:
                return report
    return None


def _rows_of(report: Mapping[str, Any], sae: str) -> list[Row]:
    return [row for row in report["measurements"] if row["sae"] == sae]


def tables(seen: Sequence[Seen], brief: bool = False) -> Iterator[str]:
    """Give the document's parts: one table per metric, then who is red by what, then the counts.

    Args:
        seen: the worlds.
        brief: whether the tables of single metrics are left out.
    """
    if brief:
        yield INTRODUCTION
    for metric in dict.fromkeys(name for world in seen for name in _metrics(world) if not brief):
        yield _table(metric, seen)
    yield _reds(seen)
    yield "\n".join(f"- {line}" for line in counts(seen))


def counts(seen: Sequence[Seen]) -> list[str]:
    """Return the two errors that a gate can make, over all worlds, with the names."""
    told = [(f"{world.world}/{name}", KIND[name], world.red(name)) for world in seen
            for name in world.rows]  # fmt: skip
    good = [name for name, kind, red in told if kind == "good" and red]
    bad = [name for name, kind, red in told if kind == "worthless" and not red]
    of_good, of_bad = (sum(kind == each for _, kind, _ in told) for each in ("good", "worthless"))
    return [
        f"good that are red: {len(good)} of {of_good}: {', '.join(good) or '-'}",
        f"worthless that are green: {len(bad)} of {of_bad}: {', '.join(bad) or '-'}",
    ]


def key(row: Row) -> str:
    """Return metric and setting of a row as thresholds spell them."""
    return metric_key(row["metric"], row["params"])


def _metrics(world: Seen) -> list[str]:
    rows = [row for each in world.rows.values() for row in each if row["direction"] != "none"]
    return list(dict.fromkeys(name for row in rows for name in figures(row)))


def figures(row: Row) -> dict[str, Mapping[str, Any]]:
    """Return the figures of a row: its own, and those at other n that its details hold."""
    own = {key(row): row}
    if "n" not in row["params"]:
        return own
    curve = row["details"].get("curve", {})
    return own | {
        metric_key(row["metric"], {**row["params"], "n": int(n)}): value
        for n, value in curve.items()
        if int(n) != row["params"]["n"]
    }


def _table(metric: str, seen: Sequence[Seen]) -> str:
    lines = [
        f"## {metric}",
        "",
        "| world | dictionary | is | value | red by | its controls |",
        "|---|---|---|---|---|---|",
    ]
    for world in seen:
        for name, rows in world.rows.items():
            row = next((row for row in rows if metric in figures(row)), None)
            if row is not None:
                cells = [world.world, name, KIND[name], cell(figures(row)[metric])]
                cells += [_verdict(row, metric), _controls(row, metric)]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(figure: Mapping[str, Any]) -> str:
    """Return a value and its standard error."""
    if figure.get("value") is None:
        return str(figure.get("status", "-"))
    error = figure.get("se")
    return f"{figure['value']:.4g}" + ("" if error is None else f" ± {error:.2g}")


def _verdict(row: Row, metric: str) -> str:
    if key(row) != metric or not is_red(row["verdict"], "passed"):
        return ""
    rule = row["rule"]
    where = f" ({rule['file']}:{rule['line']})" if rule else ""
    return f"**{row['verdict']}**: {row['reason']}{where}".replace("|", "/")


def _controls(row: Row, metric: str) -> str:
    if key(row) != metric:
        return ""
    return "; ".join(f"{each['control']} {cell(each)}" for each in row["controls"])


def _reds(seen: Sequence[Seen]) -> str:
    lines = [
        "## Verdicts",
        "",
        f"| world | dictionary | is | {' | '.join(map(_heading, TOLD))} | verdict | by |",
        f"|---|---|---|{'---|' * len(TOLD)}---|---|",
    ]
    for world in seen:
        for name, rows in world.rows.items():
            red = world.red(name)
            refused = all(row["value"] is None for row in rows if key(row) in red)
            cells = [world.world, name, KIND[name], *(_told(rows, *each) for each in TOLD)]
            cells += ["red" if red else "green"]
            cells += ["refused" if red and refused else ", ".join(red)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _heading(told: tuple[str, str]) -> str:
    return " / ".join(filter(None, told))


def _told(rows: Sequence[Row], metric: str, control: str) -> str:
    row = next((row for row in rows if key(row) == metric), None)
    if row is None:
        return "-"
    beside = (cell(each) for each in row["controls"] if each["control"] == control)
    return " / ".join([cell(row), *beside])


def main() -> None:
    """Evaluate the worlds that are asked for and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=Path, required=True, help="what foreign_worlds.py made")
    parser.add_argument("--only", nargs="+", help="names of worlds")
    parser.add_argument("--suite", default="standard", help="sizes, as --sae-suite")
    parser.add_argument("--controls", default="cheap", help="as --sae-controls")
    parser.add_argument("--thresholds", type=Path, help="rules other than the shipped ones")
    parser.add_argument("--again", action="store_true", help="evaluate anew what was evaluated")
    parser.add_argument("--brief", action="store_true", help="one table of what decides")
    parser.add_argument("--output", type=Path, default=Path("gate-foreign.md"))
    told = parser.parse_args()
    thresholds = told.thresholds.resolve() if told.thresholds else None
    asked = Asked(told.suite, told.controls, thresholds, told.again)
    folders = sorted(path.parent for path in told.worlds.resolve().glob("*/tasks.toml"))
    seen = [
        evaluate(folder, asked) for folder in folders if not told.only or folder.name in told.only
    ]
    told.output.write_text("\n\n".join(tables(seen, told.brief)) + "\n", encoding="utf-8")
    print("\n".join(counts(seen)))


if __name__ == "__main__":
    main()
