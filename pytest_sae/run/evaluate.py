"""One SAE measured without pytest: in a notebook, or in a script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pytest_sae import option_values as checked
from pytest_sae.errors import OptionError, suggest
from pytest_sae.options import Options
from pytest_sae.run.measurements import Measurements

if TYPE_CHECKING:
    import pandas
    from sae_lens import SAE

    from pytest_sae.dictionaries.spec import SAESpec
    from pytest_sae.records.measurement import Measurement
    from pytest_sae.records.row import Row


class Evaluation(Measurements):
    """What was measured of one SAE, by key, as a table in a notebook: `found["l0"].estimate`."""

    def __init__(self, sae: str, measurements: Iterable[Measurement]) -> None:
        self.sae = sae
        self.measurements = tuple(measurements)
        super().__init__(f"Of {sae} the families that were asked for have", self.measurements)

    def to_frame(self) -> pandas.DataFrame:
        """Return the measurements as a data frame, with the columns of a report's.

        Raises:
            PytestSAEError: pandas is not installed.
        """
        from pytest_sae.records.flat import frame

        return frame(self._rows())

    def _rows(self) -> list[Row]:
        return [_ungated(each) for each in self.measurements]

    def _repr_html_(self) -> str:
        from pytest_sae.reports.pages import rendered

        return str(rendered("evaluation.html", sae=self.sae, rows=self._rows()))


def evaluate(
    sae: str | PathLike[str] | SAE[Any],
    *,
    model: str | None = None,
    tasks: str | PathLike[str] | None = None,
    families: Sequence[str] = ("core",),
    suite: str = "smoke",
    seed: int = 0,
    device: str = "auto",
    dtype: str = "float32",
    controls: str = "off",
    judge: str | None = None,
    cache: str | PathLike[str] | None = None,
    progress: bool = True,
) -> Evaluation:
    """Measure families of metrics on an SAE, as a run of pytest does, and judge nothing.

    >>> import pytest_sae
    >>> topk = pytest_sae.bundled_world() / "saes" / "topk"
    >>> found = pytest_sae.evaluate(topk, families=["core"], progress=False)
    >>> round(found["l0"].estimate.value)
    24

    Args:
        sae: as `--sae`: a path, or `family,name=value:path`, `hf:owner/repo`, `NAME@path`; or an
            SAE of sae_lens in memory, measured as what it saves, with all checks of a file.
        model: as `--sae-model`, None for the one that the SAE declares.
        tasks: as `--sae-data`: a TOML file of texts and tasks, or `canonical`; None for the
            bundled ones.
        families: what is measured; those of `pytest_sae.families`.
        suite: how many texts and probe fits: `smoke`, `standard`, `paper`.
        seed: of everything random.
        device: where it is computed.
        dtype: in which type.
        controls: as `--sae-controls`.
        judge: as `--sae-judge`, None for nobody beside the rules for the bundled model.
        cache: directory in which activations are kept, None to keep nothing.
        progress: whether a bar is shown.

    Returns:
        The measurements, by key.

    Raises:
        OptionError: an argument that cannot be used.
        PytestSAEError: an SAE, a model or texts that cannot be used.
    """
    _check_families(families)
    options = Options(
        sae=(), model=model, device=checked.device(device, distributed=False),
        dtype=checked.one_of("dtype", dtype, checked.DTYPES),
        suite=checked.one_of("suite", suite, checked.SUITES),
        data=checked.data(fspath(tasks) if tasks is not None else ""), thresholds=None, report="",
        cache=checked.cache(fspath(cache)) if cache is not None else None, seed=seed, gate=False,
        threads=1, asked=True, judge=judge, controls=checked.controls(controls),
    )  # fmt: skip
    with _written(sae) as path:
        return _evaluated(replace(options, sae=(path,)), families, _Bar(progress))


def _evaluated(options: Options, families: Sequence[str], bar: _Bar) -> Evaluation:
    from pytest_sae.session.session import EvalSession

    spec = _one(*options.sae)
    session = EvalSession(options, bar.show)
    try:
        loaded = session.load(spec)
        found = [each for family in families for each in session.measure(family, loaded)]
    finally:
        bar.close()
        session.close()
    return Evaluation(spec.id, found)


@contextmanager
def _written(sae: str | PathLike[str] | SAE[Any]) -> Iterator[str]:
    """Give where an SAE lies; one in memory is saved for as long as it is measured."""
    if isinstance(sae, (str, PathLike)):
        yield fspath(sae)
        return
    # One that is being trained saves what it would be used as.
    save = getattr(sae, "save_inference_model", None) or getattr(sae, "save_model", None)
    if save is None:
        raise OptionError(
            f"sae is a {type(sae).__name__}. Expected a path, as --sae takes it, or an SAE of "
            "sae_lens: save it in a format of docs/formats.md, and give its path."
        )
    with TemporaryDirectory(prefix="pytest-sae-") as directory:
        path = Path(directory, "in_memory")
        save(path)
        yield str(path)


def _check_families(names: Sequence[str]) -> None:
    from pytest_sae.families.registry import cards

    there = [card.name for card in cards()]
    if isinstance(names, str) or not names:
        raise OptionError(f"families={names!r}. Expected a list of some of {', '.join(there)}.")
    for name in names:
        if name not in there:
            near = suggest(name, there)
            raise OptionError(f"families: {name!r} is none.{near} Expected {', '.join(there)}.")


def _one(text: str) -> SAESpec:
    from pytest_sae.dictionaries.spec import resolve

    found = resolve([text])
    if len(found) != 1:
        names = ", ".join(each.id for each in found)
        raise OptionError(f"sae={text!r} is {len(found)} SAEs: {names}. Expected one at a time.")
    return found[0]


def _ungated(measurement: Measurement) -> Row:
    from pytest_sae.gate.judged import judged
    from pytest_sae.records.measured_row import measured_row
    from pytest_sae.records.verdicts import Verdict

    reason = measurement.estimate.reason or "not judged"
    return judged(measured_row(measurement, ""), Verdict("ungated", reason))


class _Bar:
    """One bar for each long step, as the session tells of it."""

    def __init__(self, shown: bool) -> None:
        self._shown, self._stage = shown, ""
        self._bar: Any = None

    def show(self, stage: str, done: int, total: int) -> None:
        if not self._shown:
            return
        from tqdm import tqdm

        if stage != self._stage or self._bar is None:
            self.close()
            self._stage, self._bar = stage, tqdm(total=total, desc=stage, leave=False)
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None
