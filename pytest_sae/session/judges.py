"""Who judges in this process: a model behind litellm, the bundled world's rules, or nobody."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_sae.errors import JudgeError
from pytest_sae.option_values import PROVIDED, RULES

if TYPE_CHECKING:
    from pytest_sae.judge.base import Judge
    from pytest_sae.judge.client import ModelJudge
    from pytest_sae.judge.exchange import Exchange
    from pytest_sae.judge.rule_based import RuleBasedJudge
    from pytest_sae.judge.settings import JudgeSettings
    from pytest_sae.measure.embedding import Embed
    from pytest_sae.models.model import LanguageModel
    from pytest_sae.options import Options


class Judges:
    """Makes each judge once.

    Args:
        options: of the run.
        workers: processes of the run, among which the budget is divided.
    """

    def __init__(self, options: Options, workers: int) -> None:
        self._options = options
        self._workers = workers
        self._embedder: Embed | None = None

    def judge_of(self, model: LanguageModel) -> Judge | None:
        """Return who judges SAEs of a model; None if nobody was named.

        Raises:
            JudgeError: the rules were asked for, and this is not the model that they know.
        """
        named = self._options.judge
        if named not in (None, RULES):
            return self._model
        if _is_bundled(model):
            return self._rules
        if named is None:
            return None
        raise JudgeError(
            f"--sae-judge={RULES} was asked to judge latents of {model.name}. It knows the words "
            "of the bundled world and nothing else. Expected a language model: "
            "--sae-judge=openai/gpt-4o-mini, or any other that litellm reaches."
        )

    def embedder(self, device: str) -> Embed | None:
        """Return the embedding model, loaded once; None if none was named.

        Raises:
            ModelError: a path or name that is no encoder.
        """
        named = self._options.embedder
        if named is None:
            return None
        if named.startswith(PROVIDED):
            return self._provided(named.removeprefix(PROVIDED))
        if self._embedder is None:
            from pytest_sae.models.embedder import load

            self._embedder = load(named, device)
        return self._embedder

    def _provided(self, name: str) -> Embed:
        import numpy as np

        from pytest_sae.judge.embed import embeddings

        return lambda texts: np.array(embeddings(name, texts, self._exchange), np.float64)

    def describe(self) -> dict[str, object]:
        """Return who judged and how the answers were come by; empty if nobody did."""
        return {
            judge.name: {
                "kind": judge.kind,
                "mode": "live" if judge.kind == "rules" else self._options.judge_mode,
            }
            for judge in self._made
        }

    def spent(self) -> dict[str, object]:
        """Return what asking has cost, by judge."""
        return {judge.name: asdict(judge.spent) for judge in self._made}

    def close(self) -> None:
        """Put the recordings in order."""
        if "_exchange" in vars(self):
            self._exchange.recordings.close()

    @property
    def settings(self) -> JudgeSettings:
        """How a model is asked."""
        from pytest_sae.judge.settings import JudgeSettings, parse_budget, parse_time_limits

        chosen = self._options
        return JudgeSettings(
            chosen.judge or str(chosen.embedder).removeprefix(PROVIDED),
            chosen.judge_api_base,
            parse_budget(chosen.judge_budget) if chosen.judge_budget else None,
            chosen.judge_concurrency,
            chosen.judge_mode,  # type: ignore[arg-type]  # checked where options are read
            Path(chosen.judge_recordings) if chosen.judge_recordings else None,
            self._workers,
            limits=parse_time_limits(chosen.judge_timeout),
        )

    @cached_property
    def _exchange(self) -> Exchange:
        from pytest_sae.judge.exchange import Exchange

        return Exchange(self.settings)

    @cached_property
    def _model(self) -> ModelJudge:
        from pytest_sae.judge.client import ModelJudge

        return ModelJudge(self._exchange)

    @cached_property
    def _rules(self) -> RuleBasedJudge:
        from pytest_sae import bundled_world
        from pytest_sae.judge.rule_based import RuleBasedJudge
        from pytest_sae.judge.rule_based.lexicon import load

        return RuleBasedJudge(load(bundled_world() / "lexicon.json"))

    @property
    def _made(self) -> list[Any]:
        there = vars(self)
        return [there[name] for name in ("_model", "_rules") if name in there]


def _is_bundled(model: LanguageModel) -> bool:
    from pytest_sae.models.load import world_fingerprint

    return model.fingerprint == world_fingerprint()
