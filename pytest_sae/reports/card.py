"""A model card's evaluation section, and the `model-index` metadata that the Hub shows."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from pytest_sae.errors import ReportError
from pytest_sae.records.report import Report
from pytest_sae.records.row import Row
from pytest_sae.records.schema import read_values, write_whole
from pytest_sae.reports.html_bars import interval_of
from pytest_sae.reports.markdown import evaluation
from pytest_sae.reports.overview import deciding

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCard

BEGIN, END = "<!-- pytest-sae: begin -->", "<!-- pytest-sae: end -->"
#: By which the results of this package are known among those of others.
TASK = "Sparse autoencoder evaluation (pytest-sae)"


def write_card(report: Path, card: Path) -> Path:
    """Write a report into a model card; what else the card holds stays, and a second time too.

    Args:
        report: report.json.
        card: README.md of the model's repository; it is made if it is not there.

    Returns:
        The card.

    Raises:
        ReportError: no report, or a card that cannot be read.
    """
    from huggingface_hub import ModelCardData

    read = read_values(report)
    found = _card(card, read)
    data = found.data
    assert isinstance(data, ModelCardData)
    others = [each for each in data.eval_results or [] if each.task_name != TASK]
    data.model_name = data.model_name or _name(read, card)
    data.eval_results = [*others, *_results(read)] or None
    found.text = _with_section(found.text, evaluation(read), card)
    return write_whole(card, str(found))


def _card(path: Path, report: Report) -> ModelCard:
    from huggingface_hub import ModelCard, metadata_load
    from yaml import YAMLError  # type: ignore[import-untyped]

    try:
        if not path.exists():
            return ModelCard(f"---\n---\n\n# {_name(report, path)}\n")
        index = (metadata_load(path) or {}).get("model-index") or []
        if len(index) > 1:
            raise ReportError(
                f"{path} has results of {len(index)} models in model-index, of which the Hub's own "
                "classes keep one. Expected one model: leave the others out."
            )
        text = path.read_bytes().decode("utf-8")
        # A card without metadata gets an empty block, or the library would warn.
        return ModelCard(text if index or metadata_load(path) is not None else f"---\n---\n{text}")
    except (OSError, ValueError, YAMLError) as error:
        told = " ".join(str(error).split())
        raise ReportError(f"{path} cannot be read: {told}. Expected a model card.") from None


def _name(report: Report, card: Path) -> str:
    names = [each.id for each in report.saes]
    return names[0] if len(names) == 1 else card.resolve().parent.name or "saes"


def _results(report: Report) -> list[EvalResult]:
    keys = deciding(report.measurements)
    rows = [row for row in report.measurements if row.key in keys and row.value is not None]
    return [_result(row, report) for row in rows]


def _result(row: Row, report: Report) -> EvalResult:
    from huggingface_hub import EvalResult

    source = str(report.data.get("source") or "texts")
    several = len(report.saes) > 1
    args = {"standard_error": row.se, "interval": interval_of(row) or None, "verdict": row.verdict}
    return EvalResult(
        task_type="feature-extraction",
        task_name=TASK,
        # Not the whole path: the card is published.
        dataset_type=PurePath(source).name,
        dataset_name=PurePath(source).name,
        dataset_config=row.fingerprints.get("suite"),
        dataset_revision=row.fingerprints.get("data"),
        metric_type=row.metric,
        metric_value=row.value,
        metric_name=f"{row.key} of {row.sae}" if several else row.key,
        metric_args={name: value for name, value in args.items() if value is not None},
    )


def _with_section(text: str, section: str, card: Path) -> str:
    """The card's text with the section in its place, or at the end; line ends as in the card."""
    end = "\r\n" if "\r\n" in text else "\n"
    told = f"{BEGIN}\n\n{section}\n\n{END}".replace("\n", end)
    begins, ends = text.count(BEGIN), text.count(END)
    if not begins and not ends:
        return f"{text.rstrip()}{end}{end}{told}{end}"
    before, _, rest = text.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if begins != 1 or ends != 1 or not closed:
        raise ReportError(
            f"{card} has {begins} lines {BEGIN} and {ends} lines {END}. Expected one of each, or "
            "none: what stands between them is written anew."
        )
    return f"{before}{told}{after}"
