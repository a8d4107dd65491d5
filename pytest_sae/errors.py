"""The exceptions users see; every message says what was found, what was expected, what to do."""

from __future__ import annotations

from collections.abc import Iterable


class PytestSAEError(Exception):
    """Base of every error that this package raises on bad input."""


class OptionError(PytestSAEError):
    """A flag or ini value that cannot be used (shown as pytest's UsageError)."""


class DictionaryError(PytestSAEError):
    """A file that is no sparse dictionary, or one that must not be evaluated as it stands."""


class ModelError(PytestSAEError):
    """A path or name that is no usable model, or a model that does not fit the dictionary."""


class SiteError(ModelError):
    """A site that the model does not have, or whose effect could not be proven."""


class DataError(PytestSAEError):
    """Texts, labels or a task file that cannot be used."""


class CacheError(PytestSAEError):
    """A cache directory that cannot be written, or an entry that is damaged."""


class ThresholdsError(PytestSAEError):
    """A thresholds file with unknown names, unknown keys or impossible bounds."""


class BaselineError(PytestSAEError):
    """A baseline that cannot be read, compared with, or updated."""


class ReportError(PytestSAEError):
    """Reports that cannot be put together or compared."""


class JudgeError(PytestSAEError):
    """A judge that cannot be asked: refused, unreachable, out of budget, or not recorded."""


class EstimateError(PytestSAEError):
    """An estimate with a field that is not what it must be."""


class MeasurementError(PytestSAEError):
    """A measurement that could not be made (out of memory, a failed worker)."""


def suggest(found: str, valid: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?`, or nothing where no valid name is close.

    Args:
        found: what was written.
        valid: the names there are.
    """
    from difflib import get_close_matches

    close = get_close_matches(found, list(valid), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
