"""What pytest-xdist cannot do with SAE tests, refused before a worker is started."""

from __future__ import annotations

import pytest

from pytest_sae.errors import OptionError


def check_distribution(config: pytest.Config) -> None:
    """Refuse what would hang the workers, or break their messages.

    Args:
        config: of the process that starts them.

    Raises:
        OptionError: every worker is to run every test; a path that does not exist, which the
            workers alone would see; or an argument that cannot be sent to them.
    """
    if not getattr(config.option, "tx", None) and not getattr(config.option, "numprocesses", None):
        return
    if config.getoption("dist", "no") == "each":
        raise OptionError(
            "--dist=each runs every test once in each worker, so that every value would be "
            "measured several times. Expected --dist=load (what -n sets), or another mode."
        )
    _check_paths(config)
    for text in map(str, config.invocation_params.args):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise OptionError(
                f"{text!a} is not UTF-8, and pytest-xdist cannot send it to its workers. "
                "Expected a name in UTF-8: rename the file, give a pattern such as "
                "--sae='saes/*', or run without -n."
            ) from None


def _check_paths(config: pytest.Config) -> None:
    if config.getoption("pyargs", False):
        return
    for argument in config.args:
        path = argument.partition("::")[0]
        if not (config.invocation_params.dir / path).exists():
            raise OptionError(
                f"file or directory not found: {argument}. Expected a path that exists, from "
                f"{config.invocation_params.dir}."
            )
