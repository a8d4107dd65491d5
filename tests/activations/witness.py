"""A dictionary and texts small enough to check everything by explicit loops."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from pytest_sae.dictionaries.base import DictionaryInfo


@dataclass
class TinyDictionary:
    """A TopK dictionary written out; it counts the tokens that it encodes."""

    d_in: int = 32
    d_sae: int = 96
    k: int = 6
    fingerprint: str = "tiny"
    encoded_tokens: int = 0
    info: DictionaryInfo = field(
        default_factory=lambda: DictionaryInfo("tiny", "tiny", None, None, None)
    )

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        rows = torch.randn(self.d_sae, self.d_in, generator=generator)
        self.decoder_rows = rows / rows.norm(dim=1, keepdim=True)
        self.encoder_rows = self.decoder_rows
        self.b_dec = 0.1 * torch.randn(self.d_in, generator=generator)
        self.device = torch.device("cpu")
        self.dtype = torch.float32

    @property
    def d_out(self) -> int:
        return self.d_in

    def encode(self, x: Tensor) -> Tensor:
        assert x.ndim == 2
        assert x.dtype == self.dtype
        self.encoded_tokens += len(x)
        pre = (x - self.b_dec) @ self.encoder_rows.T
        values, latents = pre.relu().topk(self.k, dim=-1)
        return torch.zeros_like(pre).scatter_(-1, latents, values)

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.encode(x) @ self.decoder_rows + self.b_dec

    def contribution(self, x: Tensor, z: Tensor, latents: Tensor) -> Tensor:
        return z[:, latents] @ self.decoder_rows[latents]

    def const(self, x: Tensor) -> Tensor:
        return self.b_dec.expand_as(x)


def texts(count: int = 23, seed: int = 0) -> list[str]:
    """Distinct texts of very uneven length, some with special tokens inside."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for index in range(count):
        length = int(torch.randint(1, 25, (1,), generator=generator))
        words = torch.randint(0, 50, (length,), generator=generator).tolist()
        words = [f"w{word}" for word in words]
        if index % 5 == 0:
            words.insert(length // 2, "<eos>")
        found.append(" ".join([*words, f"w{index}"]))
    return found
