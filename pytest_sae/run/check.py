"""What can be known before anything is measured: bounds, baseline, texts and dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sae.errors import DataError, PytestSAEError

if TYPE_CHECKING:
    from pytest_sae.dictionaries.spec import SAESpec


@dataclass(frozen=True)
class Checked:
    """One thing that was looked at.

    Args:
        what: its name.
        said: what there is, or what is wrong with it and what to do.
        good: whether a run can use it.
    """

    what: str
    said: str
    good: bool

    @property
    def line(self) -> str:
        """What is printed."""
        return f"{'ok ' if self.good else 'bad'}  {self.what}: {self.said}"


def check(
    saes: Sequence[str],
    thresholds: Path | None = None,
    data: Path | None = None,
    baseline: Path | None = None,
    suite: str = "standard",
) -> Iterator[Checked]:
    """Look at everything that a run would use, all of it, without running a model.

    Args:
        saes: values of `--sae`; none for the bundled one.
        thresholds: file of bounds, None for the shipped ones.
        data: task file, None for the bundled texts.
        baseline: file or directory, None for none.
        suite: whose sizes the texts have to fill.

    Yields:
        What was found, dictionaries last, for they take longest.
    """
    from pytest_sae.run.run import bundled_sae, shipped_thresholds

    bounds = thresholds or shipped_thresholds()
    yield _checked(f"thresholds {bounds}", lambda: _thresholds(bounds))
    if baseline is not None:
        yield _checked(f"baseline {baseline}", lambda: _baseline(baseline))
    yield _checked(f"data {data or 'bundled'}", lambda: _data(data, suite))
    for text in saes or [str(bundled_sae())]:
        yield from _saes(text)


def _checked(what: str, look: Callable[[], str]) -> Checked:
    try:
        return Checked(what, look(), good=True)
    except PytestSAEError as error:
        return Checked(what, str(error), good=False)
    except OSError as error:
        return Checked(what, f"cannot be read: {error.strerror}", good=False)


def _thresholds(path: Path) -> str:
    from pytest_sae.gate.bounds import load_thresholds

    found = load_thresholds(path)
    gating = sum(rule.gate for rule in found.rules.values())
    overrides = f", {len(found.overrides)} overrides" if found.overrides else ""
    count = len(found.rules)
    return f"{count} rule{'s' * (count != 1)}, of which {gating} gate{overrides}"


def _baseline(path: Path) -> str:
    from pytest_sae.gate.baseline_file import read_baseline

    found = read_baseline(path, str(path))
    return f"{len(found.entries)} values of {len({entry.sae for entry in found.entries})} SAEs"


def _data(path: Path | None, suite: str) -> str:
    from pytest_sae.data.sources import bundled_tasks, load_tasks
    from pytest_sae.session.suites import SUITES

    sizes = SUITES[suite].sizes
    tasks = bundled_tasks(sizes, seed=0) if path is None else load_tasks(path, sizes, seed=0)
    if tasks.left_out:
        raise DataError("; ".join(f"{each.told}: {each.reason}" for each in tasks.left_out))
    texts = len(tasks.corpus.texts) if tasks.corpus else 0
    return f"{texts} held-out texts, {len(tasks.scr)} SCR and {len(tasks.tpp)} TPP tasks"


def _saes(text: str) -> Iterator[Checked]:
    from pytest_sae.dictionaries.spec import resolve

    try:
        specs = resolve([text])
    except PytestSAEError as error:
        yield Checked(f"SAE {text}", str(error), good=False)
        return
    for spec in specs:
        yield _checked(f"SAE {spec.id}", lambda spec=spec: _dictionary(spec))  # type: ignore[misc]


def _dictionary(spec: SAESpec) -> str:
    from pytest_sae.dictionaries.base import site_width
    from pytest_sae.dictionaries.load import load
    from pytest_sae.dictionaries.preflight import require_site

    dictionary = load(spec.path, family=spec.family, settings=spec.settings)
    require_site(dictionary.info)
    info = dictionary.info
    written = "" if info.hook_out in (None, info.hook_in) else f" to {info.hook_out}"
    return (
        f"{info.family}, {dictionary.d_sae} latents of {site_width(dictionary)} inputs, "
        f"{info.hook_in}{written} of {info.model}"
    )
