"""Files that other libraries' releases wrote are read as the releases compute.

    .ci/peers DIR

It writes DIR/files, and runs this with PYTEST_SAE_RELEASES=DIR/files.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.models.load import load as load_model
from pytest_sae.models.prove import captured
from pytest_sae.models.tokenize import batches
from pytest_sae.session.loaded import processed, sites_of
from tests.dictionaries.releases import recorded

WRITTEN = Path(os.environ.get("PYTEST_SAE_RELEASES", "nowhere"))
CASES = [
    pytest.param(release, name, id=f"{release.name}-{name}")
    for release in (sorted(WRITTEN.iterdir()) if WRITTEN.is_dir() else ())
    for name in recorded.names(release)
]

pytestmark = pytest.mark.skipif(not CASES, reason="PYTEST_SAE_RELEASES names no written files")


@pytest.mark.parametrize(("release", "name"), CASES)
def test_a_releases_files_are_read_as_it_computes(release: Path, name: str) -> None:
    line, figures, said = recorded.read(release, name)
    spec = resolve([line])[0]
    ours = load(spec.path, family=spec.family, settings=spec.settings)
    x = figures["x"]
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(x), figures["z"], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.reconstruct(x), figures["y"], rtol=1e-5, atol=1e-5)
    assert (figures["z"] != 0).any()
    assert {key: getattr(ours.info, key) for key in said} == said


SITES = [case for case in CASES if "site" in recorded.read(*case.values)[1]]


@pytest.mark.skipif(not SITES, reason="no release wrote what its site gives")
@pytest.mark.parametrize(("release", "name"), SITES)
def test_a_site_gives_what_the_release_trained_on(release: Path, name: str) -> None:
    """How the model's weights were processed, which no file says, is what it did by default."""
    line, figures, _ = recorded.read(release, name)
    spec = resolve([line])[0]
    info = load(spec.path, family=spec.family, settings=spec.settings).info
    if info.perhaps:  # no version in the file: a run tries both, and this is the other
        info = processed(info, info.perhaps)
    model = load_model(str(info.model), device="cpu", dtype=torch.float32)
    text = (release / "text.txt").read_text()
    batch = batches([text], model.tokenizer, 32, True)[0]
    x, _ = captured(model, batch, sites_of(info, model)[0])
    torch.testing.assert_close(x[0], figures["site"], rtol=1e-5, atol=1e-5)
