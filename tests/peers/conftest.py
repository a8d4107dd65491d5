"""Tests against the published packages: they run where these are installed (the extra `peers`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from pytest_sae.activations.pooled import Pooled, pool
from pytest_sae.activations.stream import ActivationBatch
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.models.tokenize import Batch
from pytest_sae.session.session import EvalSession, LoadedSAE
from tests.sessions import options
from tests.suite.running import SAES


@pytest.fixture(scope="session", autouse=True)
def sae_bench() -> None:
    pytest.importorskip("sae_bench", reason="the extra peers is not installed")


@pytest.fixture(scope="session")
def session() -> EvalSession:
    """The bundled world, without a cache."""
    return EvalSession(options(gate=False))


@pytest.fixture(scope="session")
def sae(session: EvalSession) -> LoadedSAE:
    """The bundled TopK SAE as this package loads it."""
    return session.load(resolve([str(SAES / "topk")])[0])


@pytest.fixture(scope="session")
def theirs(sae: LoadedSAE) -> SimpleNamespace:
    """The same SAE as sae_lens loads it, with the names that the published package asks for."""
    from sae_lens import SAE

    loaded = SAE.load_from_disk(str(SAES / "topk"), device="cpu")
    layer = sae.model.site("model.layers.2").module
    cfg = SimpleNamespace(
        hook_name=layer, hook_head_index=None, hook_layer=2, d_sae=loaded.cfg.d_sae
    )
    return SimpleNamespace(
        encode=loaded.encode,
        decode=loaded.decode,
        W_dec=loaded.W_dec,
        W_enc=loaded.W_enc,
        b_enc=loaded.b_enc,
        cfg=cfg,
        device=torch.device("cpu"),
    )


@dataclass(frozen=True)
class Tokens:
    """Token activations as the published package takes them: zeros where nothing is valid.

    Args:
        x: (text, pos, d).
        valid: (text, pos) bool.
    """

    x: Tensor
    valid: Tensor

    @classmethod
    def of(cls, sae: LoadedSAE, session: EvalSession, texts: Sequence[str], most: int) -> Tokens:
        """The first valid tokens of each text, `most` of them or all there are."""
        found: list[Tensor] = [torch.empty(0)] * len(texts)
        for part in session.latents(sae).tokens(tuple(texts)):
            lengths = part.batch.valid.sum(1).tolist()
            for row, x in zip(part.batch.rows, part.x_valid.split(lengths), strict=True):
                found[int(row)] = x[:most]
        x = torch.nn.utils.rnn.pad_sequence(found, batch_first=True)
        lengths = torch.tensor([len(each) for each in found])
        return cls(x, torch.arange(x.shape[1]) < lengths[:, None])

    def pooled(self, sae: LoadedSAE) -> Pooled:
        """What this package keeps of the same activations."""
        rows = torch.arange(len(self.x))
        batch = Batch(torch.zeros_like(self.valid, dtype=torch.long), self.valid, self.valid, rows)
        return pool([ActivationBatch(batch, self.x)], sae.dictionary, len(rows))

    def take(self, places: np.ndarray) -> Tokens:
        """Some of the texts."""
        return Tokens(self.x[places], self.valid[places])
