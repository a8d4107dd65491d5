"""What is wrong with an SAE, of what was measured and tried: a pure function.

suspicions(measured, tried, look, declared_l0) -> list[Finding]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_sae.doctor.weights import Look

#: Causes, the likelier first where two explain an SAE equally well.
CAUSES = (
    "wrong layer",
    "processed weights",
    "wrong site",
    "transposed",
    "permuted decoder",
    "wrong dtype",
    "threshold lost",
    "un-folded norm",
    "wrong normalisation",
    "scaled",
    "wrong revision",
    "wrong model",
    "wrong BOS",
)
HARDLY_TRAINED = "hardly trained"
RANDOM = "random weights"
UNKNOWN = "another model or revision"
SPARSITY = "another L0"
REFUSED = "refused"

_MENDS = 0.75  # of what is unexplained beside principal components is left by what mends
_HARDLY = 0.75  # of what these leave is left by an SAE that was trained: 0.2 to 0.35 of six of them
_FIRST = 0.5  # the same of the first tokens alone, on which BOS acts most
_EQUAL = 1.02
_NOTHING = 0.003  # so little is left that less is rounding
_COUNT = 1.5


@dataclass(frozen=True)
class Measured:
    """What a dictionary makes of ten texts.

    Args:
        ev: explained variance.
        first: that of the first five tokens of each text, about the mean of all.
        l0: mean number of active latents.
        of_rank: explained variance of as many principal components, of other texts.
        largest: that of as many components, chosen for each token.
        tokens: that were measured.
    """

    ev: float
    first: float
    l0: float
    of_rank: float
    largest: float
    tokens: int

    @property
    def left(self) -> float:
        """What is unexplained, as a multiple of what principal components leave."""
        return (1 - self.ev) / max(1 - self.of_rank, 1e-9)


@dataclass(frozen=True)
class Tried:
    """One other way to read the dictionary or the model, and what comes of it.

    Args:
        cause: what is wrong if this is right; one of `CAUSES`.
        what: how it was read.
        measured: what came of it.
        line: what to type for it, empty where there is no such line.
        advice: what to do in that case.
    """

    cause: str
    what: str
    measured: Measured
    line: str = ""
    advice: str = ""


@dataclass(frozen=True)
class Finding:
    """Something that smells.

    Args:
        cause: in two or three words, one of `CAUSES` or of the constants here.
        says: the sentence, with its figures.
        line: what to type, empty where there is nothing.
    """

    cause: str
    says: str
    line: str = ""


def suspicions(
    measured: Measured | None,
    tried: Sequence[Tried],
    look: Look | None,
    declared_l0: float | None = None,
) -> list[Finding]:
    """Return what smells, the cause first; nothing where all is well.

    An SAE that explains hardly more than as many components and whose rows lie like random ones was
    hardly trained, unless something else helps much. Of what was tried, that is right which
    explains more than components do and leaves much less unexplained than the SAE as it stands.

    Args:
        measured: the dictionary as it stands; None where it cannot be loaded or placed.
        tried: everything else.
        look: of its rows, None where it has none.
        declared_l0: as its files say.
    """
    right = [each for each in tried if _mends(each, measured)]
    best = min((each.measured.left for each in right), default=0.0)
    good = [each for each in right if each.measured.left <= _EQUAL * best + _NOTHING]
    chosen = min(good, key=lambda each: CAUSES.index(each.cause), default=None)
    if look is not None and measured is not None and look.untrained:
        poor = [each.left > _HARDLY for each in (measured, chosen and chosen.measured) if each]
        if all(poor):
            return [_untrained(measured, look)]
    if chosen is not None:
        return [_of(chosen, measured)]
    if measured is not None and measured.ev < measured.of_rank:
        return [_unknown(measured, look)]
    if measured is not None and declared_l0 and _apart(measured.l0, declared_l0):
        return [_sparsity(measured, declared_l0)]
    return []


def _mends(tried: Tried, measured: Measured | None) -> bool:
    other = tried.measured
    if not other.ev > other.of_rank:
        return False
    if measured is None:
        return True
    if tried.cause == "wrong BOS":
        first = 1 - other.first <= _FIRST * (1 - measured.first)
        return first and other.left < measured.left and measured.ev > measured.of_rank
    return other.left <= _MENDS * measured.left


def _apart(measured: float, declared: float) -> bool:
    return not declared / _COUNT <= measured <= declared * _COUNT


def _of(right: Tried, measured: Measured | None) -> Finding:
    before = "it cannot be used" if measured is None else f"it explains {measured.ev:.3f}"
    if measured is not None and right.cause == "wrong BOS":
        before += f", of the first tokens {measured.first:.3f}"
    after = f"{right.measured.ev:.3f}"
    if right.cause == "wrong BOS":
        after += f", of the first tokens {right.measured.first:.3f}"
    says = f"As it stands {before}; {right.what}: {after}."
    return Finding(right.cause, says + (f" {_sentence(right.advice)}" if right.advice else ""),
                   right.line)  # fmt: skip


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _untrained(measured: Measured, look: Look) -> Finding:
    tied = "" if look.tied is None else f", the cosine of its encoder and decoder {look.tied:.2f}"
    says = (
        f"It explains {measured.ev:.3f}, as many principal components {measured.of_rank:.3f}, and "
        f"its rows lie as before training (spread "
        f"{look.spread:.2f} and nearness {look.nearness:.2f} of random rows'{tied}): "
    )
    if look.random:
        return Finding(RANDOM, says + "were its weights ever trained, or loaded into it?")
    return Finding(HARDLY_TRAINED, says + "take a later checkpoint, or train on.")


def _unknown(measured: Measured, look: Look | None) -> Finding:
    trained = "" if look is None or look.untrained else ", though its rows lie as trained ones do"
    return Finding(
        UNKNOWN,
        f"It explains {measured.ev:.3f}, less than as many principal components "
        f"({measured.of_rank:.3f}){trained}, and nothing that was tried mends it: was it trained "
        "on another model of this width, on another revision, or on other activations? Name what "
        "it may be with --try-model.",
    )


def _sparsity(measured: Measured, declared: float) -> Finding:
    return Finding(
        SPARSITY,
        f"{measured.l0:.1f} latents are active on a token, {declared:g} are declared: is its k, "
        "its threshold or its scale that of training?",
    )
