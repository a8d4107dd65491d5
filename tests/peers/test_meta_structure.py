"""`meta_structure` beside SAEBench's, which trains by Adam for many steps, on the same rows."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from pytest_sae.metrics.meta_structure import meta_structure
from tests.metrics.test_meta_structure import ROWS, planted, unrelated


def published(rows: torch.Tensor) -> float:
    from sae_bench.evals.meta_structure import main
    from sae_bench.evals.meta_structure.eval_config import MetaStructureEvalConfig

    config = MetaStructureEvalConfig(train_batch_size=ROWS, autocast=False)
    torch.manual_seed(0)
    trained, _ = main._train_meta_structure_on_decoder(rows, ROWS // 4, config, "cpu")
    share, _ = main._decoder_variance_metrics(trained, rows, ROWS)
    return share


@pytest.mark.parametrize("make", [planted, unrelated])
def test_the_alternating_fit_explains_as_much_as_their_training(make) -> None:
    rows = normalize(make())
    ours, theirs = meta_structure(rows, 0).value, published(rows)
    assert ours > theirs - 0.03
    assert ours == pytest.approx(theirs, abs=0.1)
