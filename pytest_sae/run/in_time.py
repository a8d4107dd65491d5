"""What would only be noticed after a long while, noticed before the first test."""

from __future__ import annotations

import pytest

from pytest_sae.errors import PytestSAEError
from pytest_sae.option_values import RULES
from pytest_sae.options import Options
from pytest_sae.run.narrowed import narrowed


def refuse_in_time(config: pytest.Config, options: Options) -> None:
    """End the run at once where its device is not there, or its judge has no key.

    Both load what a run without these flags does not need: torch, and litellm.

    Args:
        config: of the run.
        options: that were asked for.

    Raises:
        pytest.UsageError: says what is missing, and what to do.
    """
    try:
        if options.device.startswith("cuda"):
            from pytest_sae.models.load import device_of

            device_of(options.device)
        # A part of the tests may be one that asks nobody.
        if _is_asked(options) and not narrowed(config):
            _refuse_without_key(str(options.judge))
    except PytestSAEError as error:
        raise pytest.UsageError(str(error)) from None


def _is_asked(options: Options) -> bool:
    """Whether a provider is asked that wants a key."""
    live = options.judge_mode == "live" and options.judge_api_base is None
    return live and options.judge not in (None, RULES)


def _refuse_without_key(judge: str) -> None:
    from pytest_sae.errors import JudgeError
    from pytest_sae.judge.provider import missing_keys

    missing = missing_keys(judge)
    if missing:
        raise JudgeError(
            f"--sae-judge={judge}: {' and '.join(missing)} not set. Expected the key of its "
            "provider in the environment, or --sae-judge-api-base=URL for a server of your own, or "
            "--sae-judge-mode=replay for recorded answers."
        )
