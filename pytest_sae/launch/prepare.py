"""`python -m pytest_sae.launch.prepare ARGUMENTS`: the model reads the texts, for all SAEs at once.

The arguments are those of pytest. What it reads goes to the cache, where every run finds it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pytest_sae.errors import PytestSAEError
from pytest_sae.launch.asked import asked
from pytest_sae.launch.tied import tied


def prepare(arguments: Sequence[str]) -> int:
    """Fill the cache with what does not depend on the dictionary.

    Args:
        arguments: of the run of pytest that is to find it there.

    Returns:
        Exit status: 0, or 1 where an SAE cannot be used; its own run says so too.
    """
    from pytest_sae.session.prepared import prepare_session
    from pytest_sae.session.session import EvalSession

    run = asked(arguments).run
    session = EvalSession(run.options, _shown)
    try:
        problems = prepare_session(session, run.specs)
    finally:
        session.close()
    sys.stdout.writelines(f"pytest-sae: {each}\n" for each in problems)
    return 1 if problems else 0


def _shown(stage: str, done: int, total: int) -> None:
    sys.stdout.write(f"{stage} {done}/{total}\n")


def _refusing(arguments: Sequence[str]) -> int:
    try:
        return prepare(arguments)
    except PytestSAEError as error:
        sys.stdout.write(f"pytest-sae: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(tied(_refusing))
