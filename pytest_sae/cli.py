"""The pytest-sae command: what is done before a run, and with reports after it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_sae import __version__
from pytest_sae.errors import OptionError, PytestSAEError
from pytest_sae.option_values import DTYPES, SUITES, cache, size

# What a command prints, and its exit status where that is not 0.
Said = str | tuple[str, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 1 for a red gate, 2 for what cannot be used.

    `doctor` returns 1 where something smells, and 4 for what cannot be used.
    """
    parser = _parser()
    chosen, more = parser.parse_known_args(arguments)
    if more and chosen.run not in (_calibrate, _launch):
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    chosen.more = more
    try:
        said: Said = chosen.run(chosen)
    except PytestSAEError as error:
        sys.stderr.write(f"pytest-sae: {error}\n")
        return int(getattr(chosen, "unusable", 2))
    text, status = said if isinstance(said, tuple) else (said, 0)
    sys.stdout.write(text)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pytest-sae", description="Work with reports of SAE runs."
    )
    parser.add_argument("--version", action="version", version=f"pytest-sae {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    schema = commands.add_parser("schema", help="print the JSON Schema of report.json")
    schema.set_defaults(run=_schema)
    help_ = "draw report.md and report.html of a report.json; of several, one page on all of them"
    report = commands.add_parser("report", help=help_)
    told = "or its directory; several in their order: checkpoints, seeds, releases"
    report.add_argument("report", type=_json_in, nargs="+", metavar="report.json", help=told)
    told = "default: beside report.json, of several the last"
    report.add_argument("--output", type=Path, metavar="DIR", help=told)
    told = "draw report.NAME.html of this SAE alone; a pattern, repeatable"
    report.add_argument("--sae", action="append", default=[], metavar="NAME", help=told)
    report.set_defaults(run=_report)
    _add_export(commands)
    _add_log(commands)
    _add_card(commands)
    _add_merge(commands)
    _add_compare(commands)
    _add_check(commands)
    _add_calibrate(commands)
    _add_launch(commands)
    _add_doctor(commands)
    _add_record(commands)
    _add_fit(commands)
    _add_audit(commands)
    _add_cache(commands)
    return parser


def _add_cache(commands: Any) -> None:
    cache = commands.add_parser("cache", help="tell what the cache holds, check it, make room")
    actions = cache.add_subparsers(required=True, metavar="ACTION")
    for name, run, what in (
        ("info", _cache_info, "how much is kept, by what made it"),
        ("prune", _cache_prune, "remove what was used longest ago; not while a run uses it"),
        ("verify", _cache_verify, "compare all with its checksums; exit status 1 for damage"),
    ):
        action = actions.add_parser(name, help=what, description=what)
        told = "the cache (default: the user's, as of --sae-cache)"
        action.add_argument("directory", nargs="?", default="", metavar="DIR", help=told)
        action.set_defaults(run=run)
        if name == "prune":
            help_ = "bytes that may stay, such as 200G"
            action.add_argument("--to", required=True, metavar="SIZE", help=help_)


def _cache_directory(chosen: argparse.Namespace) -> Path:
    directory = Path(cache(chosen.directory) or "off")
    if not directory.is_dir():
        raise OptionError(f"{directory} is not there. Expected the directory of a cache.")
    return directory


def _cache_info(chosen: argparse.Namespace) -> str:
    from pytest_sae.run.cache_commands import told

    return told(_cache_directory(chosen))


def _cache_prune(chosen: argparse.Namespace) -> str:
    from pytest_sae.run.cache_commands import pruned

    directory = _cache_directory(chosen)
    try:
        limit = size("to", chosen.to)
    except OptionError:
        raise OptionError(f"--to={chosen.to}: expected bytes such as 500M or 200G.") from None
    return pruned(directory, limit)


def _cache_verify(chosen: argparse.Namespace) -> Said:
    from pytest_sae.run.cache_commands import verified

    return verified(_cache_directory(chosen))


def _json_in(text: str) -> Path:
    path = Path(text)
    return path / "report.json" if path.is_dir() else path


def _add_export(commands: Any) -> None:
    export = commands.add_parser("export", help="write a report's values for other programs")
    export.add_argument("report", type=_json_in, metavar="report.json", help="or its directory")
    add = export.add_argument
    forms = ("csv", "parquet", "openmetrics", "saebench")
    add("--format", choices=forms, default="csv", help="(%(default)s)")
    told = "default: text to standard output; of saebench a directory"
    add("--output", type=Path, metavar="FILE", help=told)
    export.set_defaults(run=_export)


def _export(chosen: argparse.Namespace) -> str:
    from pytest_sae.reports.export import export

    return export(chosen.report, chosen.format, chosen.output)


def _add_audit(commands: Any) -> None:
    audit = commands.add_parser(
        "audit", help="draw docs/audit.md from the report.json of a run with --sae-audit"
    )
    audit.add_argument("report", type=Path, metavar="report.json")
    told = "what was written by hand in it stays (default docs/audit.md)"
    audit.add_argument(
        "--output", type=Path, default=Path("docs/audit.md"), metavar="FILE", help=told
    )
    audit.set_defaults(run=_audit)


def _audit(chosen: argparse.Namespace) -> str:
    from pytest_sae.run.report_commands import audited

    return audited(chosen.report, chosen.output)


def _add_log(commands: Any) -> None:
    log = commands.add_parser("log", help="write a report's values as a run of a tracker")
    log.add_argument("report", type=_json_in, metavar="report.json", help="or its directory")
    add = log.add_argument
    add("--to", choices=("wandb", "mlflow", "trackio"), required=True, help="the tracker")
    add("--project", default="pytest-sae", help="of the tracker (%(default)s)")
    add("--run", metavar="NAME", dest="named", help="of the run (default: as the tracker likes)")
    add("--step", type=int, metavar="N", help="of training, that the values belong to")
    log.set_defaults(run=_log)


def _log(chosen: argparse.Namespace) -> str:
    from pytest_sae.reports.trackers import log

    return log(chosen.report, chosen.to, chosen.project, chosen.named, chosen.step)


def _add_card(commands: Any) -> None:
    card = commands.add_parser(
        "card", help="write a report into a model card: a section, and the Hub's model-index"
    )
    card.add_argument("report", type=_json_in, metavar="report.json", help="or its directory")
    told = "README.md of the model's repository; what else it holds stays"
    card.add_argument("--model-card", type=Path, required=True, metavar="FILE", help=told)
    card.set_defaults(run=_card)


def _card(chosen: argparse.Namespace) -> str:
    from pytest_sae.reports.card import write_card

    return f"{write_card(chosen.report, chosen.model_card)}\n"


def _add_merge(commands: Any) -> None:
    merge = commands.add_parser(
        "merge", help="unite the reports of shards, judge them again, and fail if one is absent"
    )
    told = "report.json of a shard, or its directory"
    merge.add_argument("reports", type=Path, nargs="+", metavar="REPORT", help=told)
    add = merge.add_argument
    add("--output", type=Path, default=Path("sae-report"), metavar="DIR", help="(sae-report)")
    add("-v", "--verbose", action="store_true", help="tell every value")
    merge.set_defaults(run=_merge)


def _add_compare(commands: Any) -> None:
    compare = commands.add_parser(
        "compare", help="judge a report against an earlier one, or against a baseline"
    )
    add = compare.add_argument
    add("before", type=Path, metavar="A", help="report.json, its directory, or a baseline")
    add("after", type=Path, metavar="B", help="report.json, or its directory")
    add("--thresholds", type=Path, metavar="FILE", help="default: the rules that B was judged by")
    add("--output", type=Path, metavar="DIR", help="where to write the report of the comparison")
    told = "A is of another run of the recipe, as --sae-baseline-other-seed of a run"
    add("--other-seed", action="store_true", help=told)
    add("-v", "--verbose", action="store_true", help="tell every value")
    compare.set_defaults(run=_compare)


def _add_check(commands: Any) -> None:
    check = commands.add_parser(
        "check", help="find all that is wrong before a run, without measuring anything"
    )
    add = check.add_argument
    add("--sae", action="append", default=[], metavar="PATH", help="as of a run; repeatable")
    add("--thresholds", type=Path, metavar="FILE", help="default: the shipped ones")
    add("--model", metavar="NAME", help="as --sae-model of a run")
    add("--data", metavar="FILE", help="as --sae-data (default the bundled texts)")
    add("--baseline", type=Path, metavar="PATH", help="file or directory")
    add("--suite", default="standard", choices=SUITES, help="whose sizes the texts have to fill")
    add("--judge", metavar="MODEL", help="as --sae-judge of a run")
    add("--judge-api-base", metavar="URL", help="as --sae-judge-api-base of a run")
    add("--activations", type=Path, metavar="DIR", help="as --sae-activations of a run")
    told = "also tell what the run will take: seconds, memory and disk of each stage"
    add("--estimate", action="store_true", help=told)
    check.set_defaults(run=_check)


def _add_calibrate(commands: Any) -> None:
    help_ = "write a file of bounds from SAEs of your own that are known to be good"
    epilog = (
        "Everything else is an argument of the runs of pytest that measure the SAEs, such as "
        "--sae-data=FILE, --sae-suite=smoke, --sae-model=PATH, or -k core."
    )
    calibrate = commands.add_parser("calibrate", help=help_, epilog=epilog)
    add = calibrate.add_argument
    known = "SAE as of --sae, or a report.json or its directory"
    add("--good", nargs="+", required=True, metavar="SAE", help=f"{known}; at least two SAEs")
    add("--bad", nargs="+", default=[], metavar="SAE", help=f"{known}; what has to be red")
    add(
        "--output", type=Path, default=Path("thresholds.toml"), metavar="FILE", help="(%(default)s)"
    )
    told = "measure damaged copies of the first good SAE too, and say what each bound catches"
    add("--damages", action="store_true", help=told)
    told = "what is measured is kept there, for the next time (%(default)s)"
    add("--work", type=Path, default=Path("sae-calibration"), metavar="DIR", help=told)
    told = "share of good SAEs that may miss a bound, for each bound (%(default)s)"
    add("--rate", type=float, default=0.01, metavar="SHARE", help=told)
    told = "the good SAEs are runs of one recipe: write other_seed too"
    add("--one-recipe", action="store_true", help=told)
    add("--force", action="store_true", help="replace the file that is there")
    calibrate.set_defaults(run=_calibrate)


def _add_launch(commands: Any) -> None:
    help_ = "evaluate SAEs on a cluster, one task each, on Ray or Slurm, and judge them together"
    epilog = (
        "Everything else is an argument of pytest, the same for all: evals/ --sae=PATH ... What "
        "was cut off is gone on with by --sae-resume."
    )
    # pytest's own flags are not to be taken for the beginning of one of these.
    launch = commands.add_parser("launch", help=help_, epilog=epilog, allow_abbrev=False)
    add = launch.add_argument
    add("--engine", required=True, choices=("ray", "slurm"), help="what runs the tasks")
    add("--jobs", metavar="N", help="most at a time (default: as many as there is room for)")
    told = "how often an SAE is tried again whose node was lost, from its journal (%(default)s)"
    add("--retries", default="2", metavar="N", help=told)
    told = "GPUs of each task (%(default)s); a part of one on Ray"
    add("--num-gpus-per-sae", default="0", metavar="N", help=told)
    add("--num-cpus-per-sae", metavar="N", help="CPUs of each task (default: --sae-threads)")
    told = "Ray's address (default: the one that Ray finds, or Ray on this machine)"
    add("--address", metavar="HOST:PORT", help=told)
    told = "what Ray sets up on the nodes: a file of JSON, or JSON"
    add("--runtime-env", metavar="JSON", help=told)
    told = "longest that Slurm lets a task run at a stretch; it goes on after that (a day)"
    add("--time", metavar="MINUTES", help=told)
    told = "option of sbatch, such as partition=gpu; repeatable"
    add("--slurm", action="append", default=[], metavar="NAME=VALUE", help=told)
    launch.set_defaults(run=_launch)


def _launch(chosen: argparse.Namespace) -> Said:
    from pytest_sae.launch.launching import launch
    from pytest_sae.launch.request import request_of

    return launch(request_of(chosen, chosen.more))


def _add_doctor(commands: Any) -> None:
    doctor = commands.add_parser(
        "doctor", help="say what was understood of SAEs, and what is wrong where something smells"
    )
    add = doctor.add_argument
    add("--sae", action="append", default=[], metavar="PATH", help="as of a run; repeatable")
    add("--model", metavar="NAME", help="as --sae-model of a run")
    told = "another model, or revision, that the SAE may be of; repeatable"
    add("--try-model", action="append", default=[], metavar="NAME", help=told)
    add("--data", metavar="FILE", help="as --sae-data (default the bundled texts)")
    add("--device", default="auto", metavar="DEVICE", help="where to compute")
    add("--dtype", default="float32", choices=DTYPES, help="type to compute in")
    add("--threads", default=1, type=int, metavar="N", help="CPU threads")
    add("--json", action="store_true", help="for programs")
    doctor.set_defaults(run=_doctor, unusable=4)


def _add_record(commands: Any) -> None:
    record = commands.add_parser(
        "record", help="record a model's activations, for runs with --sae-activations"
    )
    add = record.add_argument
    add("--model", required=True, metavar="PATH", help="directory or name of the model")
    add("--site", required=True, metavar="NAME", help="hook or module that the SAEs read")
    add("--written", metavar="NAME", help="where transcoders write, if not where they read")
    add("--data", metavar="FILE", help="as --sae-data (default the bundled texts)")
    add("--out", required=True, type=Path, metavar="DIR", help="new directory to record to")
    add("--suite", default="standard", choices=SUITES, help="as --sae-suite of the later runs")
    add("--seed", default=0, type=int, help="as --sae-seed of the later runs")
    add("--no-bos", action="store_true", help="texts do not begin with BOS")
    add("--device", default="auto", metavar="DEVICE", help="where to run the model")
    add("--dtype", default="float32", choices=DTYPES, help="type to run it in")
    add("--threads", default=1, type=int, metavar="N", help="CPU threads")
    record.set_defaults(run=_record)


def _add_fit(commands: Any) -> None:
    fit = commands.add_parser(
        "fit-snmf", help="fit a baseline dictionary to recorded activations of training texts"
    )
    add = fit.add_argument
    add("recording", type=Path, metavar="DIR", help="from pytest-sae record, of MLP activations")
    add("--rank", required=True, type=int, metavar="N", help="number of latents")
    add("--out", required=True, type=Path, metavar="FILE.safetensors", help="new file")
    add("--seed", default=0, type=int, help="of the start")
    add("--tokens", default=20_000, type=int, metavar="N", help="most tokens that are fitted")
    fit.set_defaults(run=_fit)


def _fit(chosen: argparse.Namespace) -> str:
    from pytest_sae.measure.factorise import fit_recording

    line = fit_recording(
        chosen.recording, chosen.rank, chosen.out, seed=chosen.seed, tokens=chosen.tokens
    )
    return f"Evaluate with --sae={line}\n"


def _record(chosen: argparse.Namespace) -> str:
    from pytest_sae.session.record_activations import record_data

    directory = record_data(
        chosen.model,
        chosen.site,
        chosen.data,
        chosen.out,
        written=chosen.written,
        suite=chosen.suite,
        seed=chosen.seed,
        prepend_bos=not chosen.no_bos,
        device=chosen.device,
        dtype=chosen.dtype,
        threads=chosen.threads,
    )
    size = sum(path.stat().st_size for path in directory.iterdir())
    return f"{directory}: {size / 2**20:,.1f} MiB. Evaluate with --sae-activations={directory}\n"


def _merge(chosen: argparse.Namespace) -> Said:
    from pytest_sae.run.report_commands import merged

    return merged(chosen.reports, chosen.output, int(chosen.verbose))


def _compare(chosen: argparse.Namespace) -> Said:
    from pytest_sae.run.report_commands import compared

    return compared(
        chosen.before,
        chosen.after,
        chosen.thresholds,
        chosen.output,
        int(chosen.verbose),
        chosen.other_seed,
    )


def _check(chosen: argparse.Namespace) -> Said:
    from pytest_sae.run.check import CheckRequest, check

    wanted = CheckRequest(
        chosen.sae,
        chosen.thresholds,
        chosen.data,
        chosen.baseline,
        chosen.suite,
        chosen.model,
        chosen.judge,
        chosen.judge_api_base,
        chosen.activations,
        chosen.estimate,
    )
    found = list(check(wanted))
    text = "".join(f"{each.line}\n" for each in found)
    return text, 0 if all(each.good for each in found) else 1


def _calibrate(chosen: argparse.Namespace) -> Said:
    from pytest_sae.gate.calibrate import calibrate
    from pytest_sae.records.schema import write_whole
    from pytest_sae.run.calibrate import damaged, known

    output: Path = chosen.output
    if output.exists() and not chosen.force:
        raise OptionError(
            f"--output={output} is there already. Expected a new file, or --force to replace it."
        )
    if not 0 < chosen.rate < 0.5:
        raise OptionError(f"--rate={chosen.rate:g} is no such share. Expected one from 0 to 0.5.")
    good, bad = known(chosen.good, chosen.bad, chosen.work, chosen.more)
    copies = damaged(chosen.good, chosen.work, chosen.more) if chosen.damages else []
    found = calibrate(good, bad, chosen.rate, chosen.one_recipe, copies)
    write_whole(output, found.text())
    text = "".join(f"{line}\n" for line in (*found.told(), str(output)))
    return text, 1 if found.uncaught else 0


def _doctor(chosen: argparse.Namespace) -> Said:
    from pytest_sae.doctor.examine import DoctorRequest
    from pytest_sae.doctor.screen import as_json, screen
    from pytest_sae.doctor.visit import visit

    wanted = DoctorRequest((), chosen.model, chosen.try_model, chosen.device, chosen.dtype)
    found = visit(chosen.sae, chosen.data, wanted, chosen.threads)
    text = as_json(found) if chosen.json else "\n".join(screen(each) for each in found)
    return text, 1 if any(each.findings for each in found) else 0


def _schema(chosen: argparse.Namespace) -> str:
    from pytest_sae.records.schema import json_schema

    return json_schema()


def _report(chosen: argparse.Namespace) -> str:
    from pytest_sae.run.report_commands import beside, drawn, drawn_apart

    if chosen.sae and len(chosen.report) > 1:
        raise OptionError("--sae, and several reports. Expected one report that holds the SAE.")
    if chosen.sae:
        return drawn_apart(chosen.report[0], chosen.output, chosen.sae)
    if len(chosen.report) > 1:
        return beside(chosen.report, chosen.output)
    return drawn(chosen.report[0], chosen.output)
