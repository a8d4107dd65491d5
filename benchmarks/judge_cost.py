"""What autointerp asks of a judge for one latent, against the published way of asking.

    python benchmarks/judge_cost.py [--between 0.12] [--accuracy 0.75] [--borrowed]

Input tokens are counted as characters / 4. The published way (delphi: 50 activating and 50 other
contexts per scorer, five in a question, worked examples in every question) takes about 34 000 in 41
questions for one latent. Ours asks about all contexts of a scorer in questions of up to 40.

What a gate needs is the mean over latents. With n contexts per scorer its variance is

    (between + within / n) / latents,

`between` the variance of the latents' true scores, `within` that of one answer: for a balanced
accuracy of p about p (1 - p). Latents differ so much that contexts beyond a few dozen buy little:
the same standard error costs less from more latents with fewer contexts each. --borrowed adds the
same questions with another latent's explanation, from which the floor is estimated.
"""

from __future__ import annotations

import argparse
from itertools import islice
from math import ceil

from pytest_sae.activations.contexts import Context
from pytest_sae.data.calibration import calibration_texts
from pytest_sae.judge.prompts import detect, explain
from pytest_sae.judge.request import Request
from pytest_sae.numbers.bootstrap import generator

PUBLISHED_TOKENS, PUBLISHED_QUESTIONS, PUBLISHED_CONTEXTS = 34_000, 41, 100
OURS = 40
MOST = 40  # contexts of a question, as in `measure.detection`
CHARACTERS = 128  # of a context of 32 tokens
SHOWN, MARKED = 15, 3
GOAL = 0.25
EXPLANATION = "the words 'patients' and 'doctors', and other words for people in a hospital"


def main() -> None:
    """Print tokens per latent, and the cost of equally precise means."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--between", type=float, default=0.12, help="sd over latents")
    parser.add_argument("--accuracy", type=float, default=0.75, help="typical score of a latent")
    parser.add_argument("--borrowed", action="store_true", help="with the floor's questions")
    options = parser.parse_args()
    within = options.accuracy * (1 - options.accuracy)

    def variance(contexts: int) -> float:
        """Of one latent's score, as part of the mean over latents."""
        return float(options.between**2 + within / contexts)

    print("contexts  questions  tokens/latent  latents for equal se  cost, published = 1")
    for contexts in (10, 20, OURS, 60, PUBLISHED_CONTEXTS):
        asked = questions(contexts, options.borrowed)
        latents = variance(contexts) / variance(PUBLISHED_CONTEXTS)
        cost = tokens(asked) * latents / PUBLISHED_TOKENS
        default = "  <- default" if contexts == OURS else ""
        print(
            f"{contexts:8}  {len(asked):9}  {tokens(asked):13,.0f}  {latents:20.2f}"
            f"  {cost:19.3f}{default}"
        )
    print(f"published: {PUBLISHED_QUESTIONS} questions, {PUBLISHED_TOKENS:,} tokens a latent")
    print(f"goal: at most {GOAL} of the published cost at equal standard error")


def questions(contexts: int, borrowed: bool = False) -> list[Request]:
    """Return everything that is asked about one latent.

    Args:
        contexts: per scorer, half of them activating.
        borrowed: with the questions about another latent's explanation.
    """
    windows = [_context(text, place) for place, text in enumerate(_texts(SHOWN + contexts))]
    shown, scored = windows[:SHOWN], windows[SHOWN:]
    pages = [scored[start : start + MOST] for start in range(0, contexts, MOST)]
    asked = [explain.request(shown, ["hospital"] * 10)]
    for _ in range(1 + borrowed):
        asked += [detect.detection(EXPLANATION, page) for page in pages]
        asked += [detect.fuzzing(EXPLANATION, page, _marks(page)) for page in pages]
    return asked


def tokens(asked: list[Request]) -> int:
    """Return the input tokens of questions, at four characters each."""
    return ceil(sum(len(turn.content) for each in asked for turn in each.messages) / 4)


def _texts(count: int) -> list[str]:
    long = (text for text, _ in calibration_texts() if len(text) >= CHARACTERS)
    return [text[:CHARACTERS] for text in islice(long, count)]


def _context(text: str, place: int) -> Context:
    words = text.split(" ")
    pieces = (words[0], *(f" {word}" for word in words[1:]))
    active = generator(0, "judge_cost", str(place)).permutation(len(pieces)) < MARKED
    return Context(place, pieces, tuple(active.astype(float).tolist()))


def _marks(contexts: list[Context]) -> list[list[bool]]:
    return [[each > 0 for each in context.activations] for context in contexts]


if __name__ == "__main__":
    main()
