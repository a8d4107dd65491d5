"""A million latents: loaded, proven and measured in blocks, in little more than their weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.labelled import labelled_data
from tests.suite.running import ROOT, environment
from tests.tiny import tiny_model

D, WIDE = 8, 1_000_000
MEASURED = """
import resource, sys
from pathlib import Path
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.session.session import EvalSession
from tests.sessions import options

world = Path(sys.argv[1])
session = EvalSession(options(world))
sae = session.load(resolve([f"model={world / 'model'}:{world / 'layers.1'}"])[0])
for family in ("core", "scr", "tpp"):
    values = {m.estimate.metric: m.estimate.value for m in session.measure(family, sae)}
    print(family, values.get("l0"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_a_million_latents_are_measured_in_bounded_memory(tmp_path: Path) -> None:
    tiny_model(tmp_path / "model", d=D)
    (tmp_path / "data").mkdir()
    labelled_data(tmp_path / "data", per_cell=12)
    (tmp_path / "layers.1").mkdir()
    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(WIDE, D, generator=generator), dim=1)
    tensors = {"encoder.weight": rows, "encoder.bias": torch.zeros(WIDE)}
    tensors |= {"W_dec": rows.clone(), "b_dec": torch.zeros(D)}
    save_file(tensors, tmp_path / "layers.1" / "sae.safetensors")
    config = {"activation": "topk", "k": 8, "d_in": D, "num_latents": WIDE}
    (tmp_path / "layers.1" / "cfg.json").write_text(json.dumps(config))
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.split()
    assert lines[:2] == ["core", "8.0"]
    # Dense latents of these texts' tokens alone would be more than ten times as much.
    assert int(lines[-1]) < 2.5 * 2**30
