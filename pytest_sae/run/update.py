"""Writing what a run measured into its baseline; only what a whole run measured gets in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sae.gate.baseline import changes, entries_of, updated
from pytest_sae.gate.judged import rejudged_against, rule_of
from pytest_sae.records.report import Notable, Update
from pytest_sae.records.row import Row
from pytest_sae.run.run import shown_path

if TYPE_CHECKING:
    from pytest_sae.records.influence_file import Influence
    from pytest_sae.run.run import Run


def refusal(
    rows: Sequence[Row], tests: Sequence[Notable], stopped: bool, problems: Sequence[str]
) -> str:
    """Return why a run must not become a baseline, empty if it may.

    Args:
        rows: what it measured.
        tests: those of the report: without a record, or not simply passed.
        stopped: whether it was stopped early.
        problems: what else is amiss.
    """
    unmeasured = [f"{row.key} of {row.sae}" for row in rows if row.verdict == "unmeasured"]
    lost = [test.nodeid for test in tests if test.outcome in _LOST]
    if stopped:
        return "the run was stopped early"
    if problems:
        return "the run is incomplete"
    if unmeasured or lost:
        first = (unmeasured or lost)[0]
        more = len(unmeasured or lost) - 1
        return f"{first}{f' and {more} more' if more else ''} was not measured"
    try:
        entries_of(rows)
    except ValueError as error:
        return str(error)
    return ""


_LOST = ("missing", "crashed", "error")


def worse(run: Run, rows: Sequence[Row], influence: Influence) -> list[str]:
    """Return the gated values that an update would accept though they are a regression.

    Args:
        run: whose baseline is written anew.
        rows: what it measured.
        influence: what each text adds to the errors of the values.

    Returns:
        The first line of each; none where what the baseline has stays as it is.
    """
    if run.baseline is None or run.options.update != "all":
        return []
    told = []
    for row in rows:
        key = (row.sae, row.key)
        against = run.baseline.against(key, row.fingerprints, False, influence.get(key, ()))
        again = rejudged_against(row, against, rule_of(row), row.reason)
        told += [again.headline] if again.verdict == "regressed" else []
    return told


def unasked(found: Sequence[str]) -> str:
    """Return why worse values do not enter a baseline in CI, empty where there are none."""
    if not found:
        return ""
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return (
        f"in CI worse values are accepted only if --sae-accept-regressions says so: "
        f"{found[0]}{more}"
    )


def update(run: Run, rows: Sequence[Row], influence: Influence) -> Update:
    """Write the baseline of a run anew.

    Args:
        run: whose baseline it is.
        rows: what it measured.
        influence: what each text adds to the errors of the values.

    Returns:
        What changed, as the report tells it.

    Raises:
        ValueError: two rows of one key disagree.
    """
    from pytest_sae.gate.baseline_file import write_baseline

    assert run.baseline is not None
    assert run.options.baseline is not None
    measured = entries_of(rows, influence)
    before = run.baseline.entries
    after = updated(before, measured, only_new=run.options.update == "new")
    path, limit = Path(run.options.baseline), run.options.baseline_texts
    files, left_out = write_baseline(path, after, limit)
    changed = changes(before, after, {entry.key for entry in measured})
    accepted = [f"accepted as worse: {told}" for told in worse(run, rows, influence)]
    return Update(
        baseline=run.baseline.source,
        changes=(*accepted, *changed, *left_out),
        files=tuple(shown_path(run.config, file) for file in files),
    )
