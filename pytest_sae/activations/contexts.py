"""What is known about a latent from texts: plain data that judges read and reports show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Context:
    """A window of consecutive tokens of one document.

    Args:
        document: index of the text in its corpus.
        pieces: the tokens' own parts of the text, white space included: joined they are the window.
        activations: of the latent at each token, 0 where it does not fire.
    """

    document: int
    pieces: tuple[str, ...]
    activations: tuple[float, ...]

    @property
    def text(self) -> str:
        """The window as it stands in the document."""
        return "".join(self.pieces)

    @property
    def peak(self) -> float:
        """Largest absolute activation, 0 where the latent does not fire."""
        return max(map(abs, self.activations), default=0.0)


@dataclass(frozen=True)
class LatentEvidence:
    """Contexts of one latent; no document gives contexts to both explaining and scoring.

    Args:
        latent: its index.
        density: share of the corpus' valid tokens on which it is not zero.
        top: for explaining: the most activating contexts, strongest first.
        samples: for explaining: activating contexts spread over the quantiles of their peaks.
        scored: for scoring: activating contexts spread over the quantiles of their peaks.
        random: for scoring: contexts without any activation, drawn at random.
        hard: for scoring: contexts without any activation in which the latents that usually fire
            together with this one do.
    """

    latent: int
    density: float
    top: tuple[Context, ...]
    samples: tuple[Context, ...]
    scored: tuple[Context, ...]
    random: tuple[Context, ...]
    hard: tuple[Context, ...]
