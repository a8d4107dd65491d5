"""Crosscoders and cross-layer transcoders in a session: each site against one text at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pytest_sae.dictionaries.spec import resolve
from pytest_sae.errors import ModelError, SiteError
from pytest_sae.models.model import LanguageModel
from pytest_sae.session.session import EvalSession
from tests.dictionaries.formats import several_files as files
from tests.labelled import labelled_data
from tests.models.architectures import language_model, padded_batch
from tests.sessions import options
from tests.tiny import tiny_model

D = 16


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("world")
    model = tiny_model(directory / "model", d=D)
    (directory / "data").mkdir()
    labelled_data(directory / "data", per_cell=20)
    for kind in ("crosscoder", "clt"):
        files.write(directory / kind, kind, D, model_name=str(model))
    return directory


def seen(model: LanguageModel, text: str) -> dict[str, list[Tensor]]:
    """What a text has at the hooks of `several_files`, by PyTorch's own hooks on named modules."""
    layers = model.hf.model.layers
    found: dict[str, list[Tensor]] = {"hook_resid_post": [], "ln2.hook_out": [], "hook_mlp_out": []}
    handles = []
    for layer in layers:
        after, inside = found["hook_resid_post"], found["hook_mlp_out"]
        read = found["ln2.hook_out"]
        handles += [
            layer.register_forward_hook(
                lambda _, __, out, to=after: to.append(out if isinstance(out, Tensor) else out[0])
            ),
            layer.mlp.register_forward_hook(lambda _, __, out, to=inside: to.append(out)),
            layer.mlp.register_forward_pre_hook(lambda _, given, to=read: to.append(given[0])),
        ]
    with torch.no_grad():
        model.hf(torch.tensor([model.tokenizer(text)["input_ids"]]))
    for handle in handles:
        handle.remove()
    return {name: [x[0, 1:] for x in several] for name, several in found.items()}


@pytest.mark.parametrize("at", range(files.SITES))
@pytest.mark.parametrize(
    ("kind", "reads", "writes"),
    [
        ("crosscoder", "hook_resid_post", "hook_resid_post"),
        ("clt", "ln2.hook_out", "hook_mlp_out"),
    ],
)
def test_each_site_is_reconstructed_from_all_that_are_read(
    kind: str, reads: str, writes: str, at: int, world: Path
) -> None:
    session = EvalSession(options(world))
    sae = session.load(resolve([f"at={at}:{world / kind}"])[0])
    found = {m.estimate.metric: m.estimate for m in session.measure("core", sae)}
    config = files.configured(kind, D)
    weights = getattr(files, kind)(D)
    some = session.tasks.corpus.texts[:6]
    pooled = session.latents(sae).pooled(some)
    for row, text in enumerate(some):
        there = seen(sae.model, text)
        z, y = files.explicit(kind, config, weights, at, there[reads])
        torch.testing.assert_close(
            torch.tensor(pooled.z[[row]].toarray()[0]), z.mean(0), rtol=1e-3, atol=1e-3
        )
        torch.testing.assert_close(
            torch.tensor(pooled.x[row]), there[writes][at].mean(0), rtol=1e-4, atol=1e-4
        )
        read = torch.cat(there[reads][: len(sae.site.single)], dim=1)
        torch.testing.assert_close(sae.dictionary.reconstruct(read), y, rtol=1e-3, atol=1e-3)
    for metric in ("explained_variance", "l0", "kl"):
        assert found[metric].status == "ok"
    alone = kind == "clt" and at == 0
    assert len(sae.site.single) == (1 if alone else files.SITES if kind == "crosscoder" else at + 1)


def test_sites_side_by_side_are_the_tensors_of_one_pass() -> None:
    model, batch = language_model("llama"), padded_batch()
    names = ["blocks.0.hook_resid_post", "blocks.2.mlp.hook_post", "blocks.1.hook_mlp_out"]
    parts = [model.site(name) for name in names]
    both = model.site("+".join(names))
    assert both.single == tuple(parts)
    captured = model.capture(batch, [both, *parts])
    expected = torch.cat([captured[part] for part in parts], dim=-1)
    assert torch.equal(captured[both], expected)
    assert model.width(both) == sum(map(model.width, parts))


def test_a_site_twice_and_a_written_pair_are_refused(world: Path) -> None:
    model = language_model("llama")
    with pytest.raises(SiteError, match="names a site twice"):
        model.site("blocks.0.hook_resid_post+blocks.1.hook_resid_pre+blocks.0.hook_out")
    pair = "site_out=blocks.0.hook_resid_post+blocks.1.hook_resid_post"
    with pytest.raises(SiteError, match="writes 2 sites side by side"):
        EvalSession(options(world)).load(resolve([f"at=0,{pair}:{world / 'crosscoder'}"])[0])


def test_fewer_sites_than_it_reads_do_not_fit(world: Path) -> None:
    spec = resolve([f"at=0,site=blocks.0.hook_resid_post:{world / 'crosscoder'}"])[0]
    with pytest.raises(ModelError, match=f"d_in {3 * D}, but .* is {D} wide"):
        EvalSession(options(world)).load(spec)
