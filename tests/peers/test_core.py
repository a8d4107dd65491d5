"""`core` value by value beside SAEBench's own functions, on the same model, SAE and texts.

Their defects are computed here: the mean of squares in place of the mean, an error divided by the
batch, an ablation of BOS too.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pytest_sae.activations.latents import Latents
from pytest_sae.activations.store import Store
from pytest_sae.data.tasks import Corpus
from pytest_sae.measure import core
from pytest_sae.numbers.estimate import Estimate
from pytest_sae.session.session import EvalSession, LoadedSAE
from tests.measure.given import given_of

CONTEXT, TEXTS = 32, 60


class HookedModel:
    """The bundled model with the calls that the published package makes of TransformerLens."""

    def __init__(self, sae: LoadedSAE) -> None:
        self.model = sae.model.hf
        self.layer = dict(self.model.named_modules())[sae.site.module]

    def __call__(self, tokens, return_type="both", loss_per_token=True):
        logits = self.model(tokens, use_cache=False).logits
        logs = logits.log_softmax(-1)[:, :-1]
        return logits, -logs.gather(2, tokens[:, 1:, None])[..., 0]

    def run_with_hooks(self, tokens, return_type, fwd_hooks, loss_per_token):
        ((_, replace),) = fwd_hooks

        def hook(module, inputs, output):
            if isinstance(output, tuple):
                return (replace(output[0], None), *output[1:])
            return replace(output, None)

        handle = self.layer.register_forward_hook(hook)
        try:
            return self(tokens)
        finally:
            handle.remove()

    def run_with_cache(self, tokens, prepend_bos, names_filter, stop_at_layer):
        kept = {}

        def hook(module, inputs, output):
            kept[names_filter[0]] = output[0] if isinstance(output, tuple) else output

        handle = self.layer.register_forward_hook(hook)
        try:
            self.model(tokens, use_cache=False)
        finally:
            handle.remove()
        return None, kept


@pytest.fixture(scope="module")
def latents(session: EvalSession, sae: LoadedSAE) -> Latents:
    model, site = sae.model, sae.site
    return Latents(sae.dictionary, model, site, Store(None), CONTEXT, lambda *_: None)


@pytest.fixture(scope="module")
def corpus(session: EvalSession, latents: Latents) -> Corpus:
    """Texts that fill the context, so that no batch is padded: theirs know no padding."""
    texts = session.tasks.corpus.texts
    full = [
        texts[int(row)]
        for part in latents.tokens(texts)
        for row, valid in zip(part.batch.rows, part.batch.valid, strict=True)
        if int(valid.sum()) == CONTEXT - 1
    ]
    assert len(full) >= TEXTS
    return Corpus(tuple(full[:TEXTS]), "")


@pytest.fixture(scope="module")
def ours(latents: Latents, corpus: Corpus) -> dict[str, Estimate]:
    given = given_of(latents, corpus=corpus.texts)
    return {each.metric: each for each in core.measure(given)}


@pytest.fixture(scope="module")
def tokens(latents: Latents, corpus: Corpus) -> torch.Tensor:
    (batch,) = latents.tokens(corpus.texts).batches
    return batch.ids


@pytest.fixture(scope="module")
def published(
    sae: LoadedSAE, theirs: SimpleNamespace, tokens: torch.Tensor
) -> tuple[dict[str, float], dict[str, list[float]]]:
    from sae_bench.evals.core import main

    store = SimpleNamespace(get_batch_tokens=lambda size: tokens)
    model, ignored = HookedModel(sae), {sae.model.tokenizer.bos_token_id}
    with torch.no_grad():
        sparsity, features = main.get_sparsity_and_variance_metrics(
            theirs, model, store, 1, True, True, True, True, len(tokens), {}, ignored
        )
        behaviour = main.get_downstream_reconstruction_metrics(
            theirs, model, store, True, True, 1, len(tokens), ignored, True
        )
    return {**sparsity, **behaviour}, features


def x_of(latents: Latents, corpus: Corpus) -> torch.Tensor:
    (part,) = latents.tokens(corpus.texts)
    return part.x_valid


@pytest.mark.parametrize(
    ("name", "their_name", "tolerance"),
    [
        ("l0", "l0", 1e-5),
        ("l1", "l1", 1e-4),  # theirs sums signed latents; these are not negative
        ("cosine", "cossim", 1e-4),
        ("l2_ratio", "l2_ratio", 1e-4),
        ("relative_bias", "relative_reconstruction_bias", 1e-4),
        ("ce_clean", "ce_loss_without_sae", 1e-4),
        ("ce_spliced", "ce_loss_with_sae", 1e-4),
    ],
)
def test_what_has_no_defect_is_the_same(
    ours: dict[str, Estimate],
    published: tuple[dict[str, float], object],
    name: str,
    their_name: str,
    tolerance: float,
) -> None:
    assert published[0][their_name] == pytest.approx(ours[name].value, rel=tolerance)


def test_their_error_is_ours_divided_by_the_tokens_of_the_batch(
    ours: dict[str, Estimate], published: tuple[dict[str, float], object]
) -> None:
    tokens = ours["mse"].n["tokens"]
    assert published[0]["mse"] * tokens == pytest.approx(ours["mse"].value, rel=1e-4)


def test_their_explained_variance_is_ours_with_squares_in_place_of_means(
    ours: dict[str, Estimate],
    published: tuple[dict[str, float], object],
    latents: Latents,
    corpus: Corpus,
) -> None:
    x = x_of(latents, corpus).double()
    error, squares = ours["mse"].value, x.square()
    defective = squares.sum(1).mean() - squares.mean(0).mean() ** 2
    assert published[0]["explained_variance"] == pytest.approx(
        1 - error / float(defective), abs=1e-4
    )
    right = (x - x.mean(0)).square().sum(1).mean()
    assert ours["explained_variance"].value == pytest.approx(1 - error / float(right), abs=1e-6)


def test_their_kl_is_ours_where_it_does_not_underflow(
    ours: dict[str, Estimate], published: tuple[dict[str, float], object]
) -> None:
    """Theirs counts the last position too, which predicts nothing that is there."""
    kl = published[0]["kl_div_with_sae"]
    if np.isfinite(kl):
        assert kl == pytest.approx(ours["kl"].value, rel=0.1)


def test_their_zero_ablation_is_ours_with_bos_ablated_too(
    sae: LoadedSAE,
    ours: dict[str, Estimate],
    published: tuple[dict[str, float], object],
    tokens: torch.Tensor,
) -> None:
    model = HookedModel(sae)
    valid = tokens != sae.model.tokenizer.bos_token_id

    def loss(keep_bos: bool) -> float:
        def replace(x, hook):
            return torch.where(valid[..., None] | (not keep_bos), torch.zeros_like(x), x)

        with torch.no_grad():
            _, losses = model.run_with_hooks(tokens, "both", [("", replace)], True)
        return float(losses[valid[:, :-1]].mean())

    assert ours["ce_zero_ablated"].value == pytest.approx(loss(keep_bos=True), rel=1e-4)
    found = published[0]["ce_loss_with_ablation"]
    assert found == pytest.approx(loss(keep_bos=False), rel=1e-4)
    clean, spliced = ours["ce_clean"].value, ours["ce_spliced"].value
    assert published[0]["ce_loss_score"] == pytest.approx(
        (found - spliced) / (found - clean), abs=1e-4
    )


def test_densities_are_the_same(
    published: tuple[object, dict[str, list[float]]], latents: Latents, corpus: Corpus
) -> None:
    found = published[1]["feature_density"]
    np.testing.assert_allclose(found, latents.densities(corpus.texts), atol=1e-6)


def test_cosines_and_norms_of_the_rows_are_the_same(
    ours: dict[str, Estimate], theirs: SimpleNamespace
) -> None:
    from sae_bench.evals.core import main

    theirs.cfg.architecture_str = "topk"
    with torch.no_grad():
        found = main.get_featurewise_weight_based_metrics(theirs)
    for name, their_name in (
        ("encoder_decoder_cosine", "encoder_decoder_cosine_sim"),
        ("max_encoder_cosine", "max_encoder_cosine_sim"),
        ("max_decoder_cosine", "max_decoder_cosine_sim"),
    ):
        assert np.mean(found[their_name]) == pytest.approx(ours[name].value, abs=1e-5), name
