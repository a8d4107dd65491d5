"""Options of the sessions that are compared with published packages."""

from __future__ import annotations

from pytest_sae.options import Options


def options() -> Options:
    """The smoke suite on the bundled world, nothing cached."""
    return Options(
        sae=(),
        model=None,
        device="cpu",
        dtype="float32",
        suite="smoke",
        data=None,
        thresholds=None,
        report="",
        cache=None,
        seed=0,
        gate=False,
        threads=1,
        asked=True,
    )
