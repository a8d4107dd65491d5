"""Whether the judge is fit to judge: latents whose truth is known."""

from __future__ import annotations

from pytest_sae.families.card import SHARE, Card, higher

CARD = Card(
    name="judge_calibration",
    title="The judge's own calibration",
    measure="pytest_sae.measure.judge_calibration:measure",
    metrics=(
        higher("judge_calibration.explain",
            "does the judge's own explanation of a known rule predict it", SHARE,
            "balanced accuracy"),
        higher("judge_calibration.score",
            "share of corrupted descriptions that score below the true one", SHARE),
        higher("judge_calibration.rate",
            "does the judge accept latents of known concepts and no others", SHARE,
            "balanced accuracy"),
        higher("judge_calibration.injection",
            "share of instructions hidden in contexts that the judge ignores", SHARE),
    ),
    code="2",
    uses=frozenset({"judge"}),
    of_judge=True,
    random=False,
)  # fmt: skip
