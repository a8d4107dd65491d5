"""The line that says what a run cost."""

from __future__ import annotations

import torch

from pytest_sae.activations.work import Work
from pytest_sae.models.tokenize import Batch
from pytest_sae.reports.work import work_lines
from tests.reports.examples import report


def work() -> Work:
    ids = torch.arange(12).reshape(3, 4)
    mask = torch.ones(3, 4, dtype=torch.bool)
    batch, done = Batch(ids, mask, mask, torch.arange(3)), Work()
    done.ran("model", ["site"], batch)
    for _ in range(2):
        done.encoded("sae", batch)
    done.spliced("steer")
    done.bytes_written, done.bytes_kept = 2_500_000, 300_000
    done.seconds = {f"stage {i}": float(i) for i in range(9)}
    return done


def test_it_tells_passes_tokens_repeats_bytes_and_the_longest_stages() -> None:
    (line,) = work_lines(report(work={"gw0": work().record()}))
    assert line.startswith("work of gw0: model 1 passes over 12 tokens (0 texts run again), ")
    assert "SAEs 2 passes over 24 tokens (3 texts encoded again)" in line
    assert "1 partial passes to steer" in line
    assert "2.5 MB cached, 0.3 MB of latents kept" in line
    assert line.endswith(
        "stage 8 8.0 s, stage 7 7.0 s, stage 6 6.0 s, stage 5 5.0 s, stage 4 4.0 s, stage 3 3.0 s"
    )


def test_what_is_no_record_of_work_is_left_out() -> None:
    assert work_lines(report(work={})) == []
    assert work_lines(report(work={"main": {"loads": 3}, "other": "text"})) == []
    odd = {"model_passes": "many", "seconds": [1], "upper_passes": None}
    (line,) = work_lines(report(work={"main": odd}))
    assert "model 0 passes" in line
