"""One dictionary over one model's activations: the value of the `latents` fixture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_sae.activations import evidence as gathering
from pytest_sae.activations import pooled as pooling
from pytest_sae.activations.codes import KEPT_BYTES, Keeper, Room
from pytest_sae.activations.contexts import LatentEvidence
from pytest_sae.activations.evidence import EvidenceSizes
from pytest_sae.activations.pooled import Pooled
from pytest_sae.activations.store import Store
from pytest_sae.activations.stream import ActivationBatch, TokenActivations, run
from pytest_sae.dictionaries.base import Contextual, Dictionary, Scaled
from pytest_sae.models.memory import tokens_per_batch
from pytest_sae.models.model import LanguageModel
from pytest_sae.models.site import Site

Progress = Callable[[str, int, int], None]

_OF_TEXTS = ("_streams", "_places")  # what is kept and depends on no dictionary
_ROWS = 1024  # latents whose written rows are found at once
_ROW_CODES = 2**26  # entries of the codes that they are found with


class Latents:
    """What a dictionary makes of texts; each set of texts is run and encoded once.

    Args:
        dictionary: encodes.
        model: gives the activations.
        site: where they are read.
        store: keeps the activations, for every dictionary of the same model and site.
        context: tokens per text at most.
        progress: called with (stage, done, total).
        written_site: what the reconstruction replaces; None where it is the site that is read.
    """

    def __init__(
        self,
        dictionary: Dictionary,
        model: LanguageModel,
        site: Site,
        store: Store,
        context: int,
        progress: Progress,
        written_site: Site | None = None,
    ) -> None:
        self.dictionary = dictionary
        self.model = model
        self.site = site
        self.written_site = written_site or site
        self.store = store
        self.context = context
        self.progress = progress
        self._streams: dict[tuple[tuple[str, ...], Site], TokenActivations] = {}
        self._pooled: dict[tuple[str, ...], Pooled] = {}
        self._places: dict[tuple[str, ...], dict[str, int]] = {}
        self._keepers: dict[tuple[str, ...], Keeper] = {}
        self.keep(KEPT_BYTES)
        self._densities: dict[tuple[str, ...], NDArray[np.float64]] = {}
        self._rows: dict[tuple[str, ...], Tensor] = {}  # by texts; of none where they are fixed
        self._evidence: dict[object, list[LatentEvidence]] = {}

    def keep(self, size: int) -> None:
        """Keep so many bytes of codes at most; other texts are encoded whenever they are needed.

        Args:
            size: for this dictionary, and as much for each that is measured beside it.
        """
        self._kept_bytes = size
        self._room = Room(size)

    def of_twin(self, dictionary: Dictionary, encodes_alike: bool = False) -> Latents:
        """Return the latents of another dictionary of the same sites; activations are shared.

        Args:
            dictionary: the other one.
            encodes_alike: whether it has the same latents to the bit, and differs in what they
                write: then nothing is encoded twice.
        """
        twin = copy(self)
        twin.dictionary = dictionary
        if not encodes_alike:
            kept = {name: each for name, each in vars(self).items() if isinstance(each, dict)}
            vars(twin).update({name: {} for name in kept if name not in _OF_TEXTS})
            twin._room = Room(self._kept_bytes)
        twin._rows = {}
        return twin

    def tokens(self, texts: Sequence[str]) -> TokenActivations:
        """Return what is at the site that the dictionary reads, special tokens included."""
        return self._stream(tuple(texts), self.site)

    def written(self, texts: Sequence[str]) -> TokenActivations:
        """Return what its reconstruction replaces: `tokens` itself, but for transcoders."""
        return self._stream(tuple(texts), self.written_site)

    def written_elsewhere(self, texts: Sequence[str]) -> TokenActivations | None:
        """Return what the reconstruction replaces, None where that is what the dictionary reads."""
        return self.written(texts) if self.reads_apart else None

    @property
    def writes_elsewhere(self) -> bool:
        """Whether it is a transcoder, which writes to another site than it reads."""
        return self.written_site != self.site

    @property
    def reads_apart(self) -> bool:
        """Whether a token is read as another vector than is written: elsewhere, or in context."""
        return self.writes_elsewhere or isinstance(self.dictionary, Contextual)

    @property
    def in_context(self) -> str:
        """Why single tokens cannot be read, empty if they can."""
        alone = not isinstance(self.dictionary, Contextual)
        return "" if alone else "what it makes of a token depends on the tokens before it"

    def pooled(self, texts: Sequence[str]) -> Pooled:
        """Return mean activations (of what is written) and mean latents of distinct texts.

        Raises:
            DataError: a text without a token besides BOS, EOS and padding.
        """
        key = tuple(texts)
        if key not in self._pooled:
            stream, elsewhere = self.tokens(key), self.written_elsewhere(key)
            run([stream] if elsewhere is None else [stream, elsewhere])
            self._pooled[key] = pooling.pool(
                self.read("encoding texts", stream),
                self.dictionary,
                len(key),
                self.store.work,
                elsewhere,
            )
        return self._pooled[key]

    def places(self, texts: Sequence[str], wanted: Sequence[str]) -> NDArray[np.int64]:
        """Return the index in `texts` of each wanted text."""
        key = tuple(texts)
        if key not in self._places:
            self._places[key] = {text: place for place, text in enumerate(key)}
        # Looked up once: to hash all of the texts for each of them takes longer than all the rest.
        places = self._places[key]
        return np.array([places[text] for text in wanted], np.int64)

    def densities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return (d_sae,): the share of the texts' valid tokens on which a latent is not zero."""
        key = tuple(texts)
        if key not in self._densities:
            parts = self.coded("counting latents", key)
            self._densities[key] = gathering.densities(parts, self.dictionary, self.store.work)
        return self._densities[key]

    def evidence(
        self, texts: Sequence[str], latents: NDArray[np.int64], sizes: EvidenceSizes, seed: int
    ) -> list[LatentEvidence]:
        """Return the contexts of each latent in distinct texts; see `activations.evidence`.

        Args:
            texts: documents, each once.
            latents: (J,) distinct indices.
            sizes: how many contexts of each kind.
            seed: of the halves and of the draws.
        """
        latents = np.asarray(latents, np.int64)
        key = (tuple(texts), tuple(latents.tolist()), sizes, seed)
        if key not in self._evidence:
            stream = self.tokens(texts)
            parts = self.coded("collecting evidence", texts)
            self._evidence[key] = gathering.collect(
                stream, self.dictionary, latents, sizes, seed, self.store.work, parts
            )
        return self._evidence[key]

    def coded(self, stage: str, texts: Sequence[str]) -> Iterator[ActivationBatch]:
        """Give the batches of distinct texts with their latents, encoded in the first pass alone.

        Args:
            stage: what they are wanted for, shown as progress.
            texts: each once.
        """
        key = tuple(texts)
        keeper = self._keepers.setdefault(key, Keeper(self._room))
        shown = self.read(stage, self.tokens(key))
        return keeper.coded(shown, self.dictionary, self.store.work)

    def ablated(
        self,
        texts: Sequence[str],
        sets: Sequence[NDArray[np.int64]],
        places: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float32]:
        """Return what ablating each set takes from each text's mean, (set, text, d_out).

        By decoding with and without: for dictionaries whose decoder is not affine.

        Args:
            texts: distinct, encoded once.
            sets: of latents.
            places: (text,) which of the texts are wanted, None for all.
        """
        before = self.pooled(texts).x
        removed: NDArray[np.float32] = (
            before if places is None else before[places]
        ) - pooling.ablated_means(
            self.coded("ablating latents", texts),
            self.dictionary,
            [torch.from_numpy(latents) for latents in sets],
            self.written_elsewhere(texts),
            places,
        )
        return removed

    def written_rows(self, texts: Sequence[str]) -> Tensor:
        """Return what one unit of each latent writes, (d_sae, d_out), on the dictionary's device.

        Where that depends on the token, at the mean of what is read: good enough to rank latents
        by effect, which is all it is used for then.
        """
        if self.dictionary.decoder_rows is not None:
            return self.fixed_rows
        key = tuple(texts)
        if key not in self._rows:
            self._rows[key] = self._rows_at_mean(key)
        return self._rows[key]

    @property
    def fixed_rows(self) -> Tensor:
        """(d_sae, d_out): what one unit writes, at scale one of a `Scaled` dictionary.

        On the dictionary's device, where whoever computes with all of them does so.
        """
        if () not in self._rows:  # one copy at most, of rows in half precision
            it = self.dictionary
            rows = it.scaled_rows if isinstance(it, Scaled) else it.decoder_rows
            assert rows is not None
            self._rows[()] = rows.detach().float()
        return self._rows[()]

    def can_read(self, texts: Sequence[str]) -> bool:
        """Whether there are, or can be made, activations of all of the texts."""
        return True

    def read_means(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the mean of what is read of each text, (text, d_in)."""
        if not self.reads_apart:
            return self.pooled(texts).x
        parts = map(self._seen, self.tokens(texts))
        return pooling.pool(parts, None, len(texts), self.store.work).x

    def _stream(self, texts: tuple[str, ...], site: Site) -> TokenActivations:
        if (texts, site) not in self._streams:
            bos = self.dictionary.info.prepend_bos
            self._streams[texts, site] = TokenActivations(
                self.model,
                site,
                texts,
                self.context,
                bos is not False,
                self.store,
                tokens_per_batch(self.model),
            )
        return self._streams[texts, site]

    def _rows_at_mean(self, texts: tuple[str, ...]) -> Tensor:
        dictionary = self.dictionary
        mean = torch.from_numpy(self.read_means(texts).mean(0))
        if isinstance(dictionary, Scaled):
            scale = dictionary.token_scale(mean[None].to(dictionary.device, dictionary.dtype))
            return self.fixed_rows * float(scale)
        return self._rows_at(mean).detach().float()

    def _rows_at(self, mean: Tensor) -> Tensor:
        dictionary = self.dictionary
        size = max(1, min(_ROWS, _ROW_CODES // dictionary.d_sae))
        x = mean.to(dictionary.device, dictionary.dtype).expand(size, -1)
        rows = []
        for block in torch.arange(dictionary.d_sae, device=dictionary.device).split(size):
            z = torch.zeros(len(block), dictionary.d_sae, device=x.device, dtype=x.dtype)
            z[torch.arange(len(block)), block] = 1
            rows.append(dictionary.contribution(x[: len(block)], z, block))
        return torch.cat(rows)

    def read(self, stage: str, stream: TokenActivations) -> Iterator[ActivationBatch]:
        """Give `tokens` as the dictionary reads them, and report progress after each batch."""
        yield from map(self._seen, self.shown(stage, stream))

    def _seen(self, part: ActivationBatch) -> ActivationBatch:
        if not isinstance(self.dictionary, Contextual):
            return part
        return ActivationBatch(part.batch, self.dictionary.in_context(part.x).cpu())

    def shown(self, stage: str, stream: TokenActivations) -> Iterator[ActivationBatch]:
        """Give a stream's batches and report progress after each."""
        done = 0
        for part in stream:
            yield part
            done += part.batch.shape[0]
            self.progress(stage, done, len(stream.texts))
