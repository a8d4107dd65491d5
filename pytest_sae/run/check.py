"""What can be known before anything is measured: bounds, baseline, texts, judge, dictionaries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sae.numbers.keys import parse_key
from pytest_sae.run.checked import Checked, checked

if TYPE_CHECKING:
    from pytest_sae.data.tasks import Tasks
    from pytest_sae.families.card import Card
    from pytest_sae.gate.rules import Rule, Thresholds
    from pytest_sae.run.check_saes import NeededWords


@dataclass(frozen=True)
class CheckRequest:
    """What a run would be given.

    Args:
        saes: values of `--sae`; none for the bundled one.
        thresholds: file of bounds, None for the shipped ones.
        data: as --sae-data names it, None for the bundled texts.
        baseline: file or directory, None for none.
        suite: whose sizes the texts have to fill.
        model: in place of the one that SAEs declare, None for that.
        judge: as --sae-judge names it, None for none.
        judge_api_base: URL of the judge's server, None for its provider's.
        activations: directory of recorded activations, None to run the model.
        estimate: whether to tell what the run will cost.
    """

    saes: Sequence[str] = ()
    thresholds: Path | None = None
    data: str | None = None
    baseline: Path | None = None
    suite: str = "standard"
    model: str | None = None
    judge: str | None = None
    judge_api_base: str | None = None
    activations: Path | None = None
    estimate: bool = False


def check(wanted: CheckRequest) -> Iterator[Checked]:
    """Look at everything that a run would use, all of it, without running a model.

    Args:
        wanted: what the run would be given.

    Yields:
        What was found, dictionaries last, for they take longest.
    """
    from pytest_sae.run import check_data, check_recording, check_saes
    from pytest_sae.run.estimate import Costs, together
    from pytest_sae.run.run import bundled_sae, shipped_thresholds
    from pytest_sae.session.suites import SUITES

    bounds = wanted.thresholds or shipped_thresholds()
    rules, found = _read_thresholds(bounds)
    yield found
    if wanted.baseline is not None:
        baseline = wanted.baseline
        yield checked(f"baseline {baseline}", lambda: _baseline(baseline))
    recording, of_recording = check_recording.recording(wanted.activations)
    yield from of_recording
    tasks = None
    if wanted.data is not None or wanted.activations is None:
        tasks, of_data = check_data.data(wanted.data, wanted.suite)
        yield from of_data
    if recording and tasks:
        yield check_recording.texts(recording, tasks)
    gating = [rule for rule in rules.rules.values() if rule.gate] if rules else []
    if tasks is not None:
        yield from check_data.needed(tasks, gating)
    yield from _judge(wanted)
    yield from _extras()
    words = _words(tasks, gating, wanted.suite) if wanted.activations is None else None
    costs = Costs(tasks, SUITES[wanted.suite]) if wanted.estimate and tasks else None
    beside = check_saes.Beside(
        check_saes.Outlines(),
        SUITES[wanted.suite].context,
        wanted.model,
        words,
        recording,
        recorded=wanted.activations is not None,
        costs=costs,
    )
    for text in wanted.saes or [str(bundled_sae())]:
        yield from check_saes.saes(text, beside)
    if costs and costs.found:
        yield Checked("estimate", together(costs.found))


def _read_thresholds(path: Path) -> tuple[Thresholds | None, Checked]:
    from pytest_sae.gate.bounds import load_thresholds

    read: list[Thresholds] = []

    def look() -> str:
        read.append(load_thresholds(path))
        return _told(read[0])

    found = checked(f"thresholds {path}", look)
    return (read[0] if read else None), found


def _told(found: Thresholds) -> str:
    gating = sum(rule.gate for rule in found.rules.values())
    overrides = f", {len(found.overrides)} overrides" if found.overrides else ""
    count = len(found.rules)
    return f"{count} rule{'s' * (count != 1)}, of which {gating} gate{overrides}"


def _baseline(path: Path) -> str:
    from pytest_sae.gate.baseline_file import read_baseline

    found = read_baseline(path, str(path))
    return f"{len(found.entries)} values of {len({entry.sae for entry in found.entries})} SAEs"


def _judge(wanted: CheckRequest) -> Iterator[Checked]:
    """Who judges: whether there is a key, and what nobody judges otherwise."""
    from pytest_sae.families.registry import cards
    from pytest_sae.judge.settings import JudgeSettings
    from pytest_sae.option_values import RULES

    if wanted.judge not in (None, RULES):
        judge = str(wanted.judge)

        def look() -> str:
            JudgeSettings(judge, wanted.judge_api_base)
            return _key(judge, wanted.judge_api_base)

        yield checked(f"judge {judge}", look)
        return
    if not wanted.saes and wanted.model is None:
        return  # the bundled rules judge the bundled model
    judged = [card for card in cards() if card.judged]
    who = "on the bundled model alone" if wanted.judge == RULES else "on the bundled model at most"
    yield Checked("judge", f"none is named: {_count(judged)} are measured {who}", "note")


def _key(judge: str, api_base: str | None) -> str:
    from pytest_sae.errors import JudgeError
    from pytest_sae.judge.provider import missing_keys

    if api_base is not None:
        return f"asked at {api_base}, which may want no key"
    missing = missing_keys(judge)
    if not missing:
        return "its key is there"
    raise JudgeError(f"{' and '.join(missing)} not set. Expected the key of its provider.")


def _extras() -> Iterator[Checked]:
    """What packages that are not installed leave out."""
    from pytest_sae.data.sae_probes import missing
    from pytest_sae.families.registry import card_of

    lacking = missing()
    if lacking:
        left = _count([card_of("last_token_probing")])
        yield Checked("extra probes", f"{left} are not measured: {lacking}", "note")


def _count(cards: Sequence[Card]) -> str:
    figures = sum(len(list(card.named)) for card in cards)
    return f"{figures} figures of {', '.join(card.name for card in cards)}"


def _words(tasks: Tasks | None, gating: Sequence[Rule], suite: str) -> NeededWords | None:
    from pytest_sae.families.absorption import CARD
    from pytest_sae.run.check_data import card_of_metric
    from pytest_sae.run.check_saes import NeededWords

    if tasks is None:
        return None
    gates = any(card_of_metric(parse_key(rule.name)[0]) == CARD for rule in gating)
    return NeededWords(tasks.spelling, CARD.sizes[suite]["words"], gates)
