"""Result files written from a report, read by the published package's own classes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from tests.reports.examples import report
from tests.reports.test_saebench import canonical, exported

CLASSES = {
    "scr": ("scr_and_tpp", "ScrEvalOutput"),
    "tpp": ("scr_and_tpp", "TppEvalOutput"),
    "absorption_first_letter": ("absorption", "AbsorptionEvalOutput"),
    "sparse_probing_sae_probes": (
        "sparse_probing_sae_probes",
        "SparseProbingSaeProbesEvalOutput",
    ),
}


@pytest.mark.parametrize("evaluation", CLASSES)
def test_the_published_class_takes_a_file_and_finds_its_values(
    evaluation: str, tmp_path: Path
) -> None:
    files = exported(tmp_path, report(canonical()))
    assert files.keys() == CLASSES.keys()
    module, kind = CLASSES[evaluation]
    # Some of their modules import what only their measuring needs.
    published = pytest.importorskip(
        f"sae_bench.evals.{module}.eval_output", reason="a package of sae-bench is missing"
    )
    read = TypeAdapter(getattr(published, kind)).validate_python(files[evaluation])
    for category, figures in files[evaluation]["eval_result_metrics"].items():
        kept = getattr(read.eval_result_metrics, category)
        assert {figure: getattr(kept, figure) for figure in figures} == figures
