"""What is said of a dictionary's configuration beside what is measured."""

from __future__ import annotations

from pytest_sae.dictionaries.base import DictionaryInfo
from pytest_sae.session.loaded import is_processed


def remarks(info: DictionaryInfo, context: int, recorded: bool) -> list[str]:
    """Return what its family took for granted or left aside, and what the run does otherwise.

    Args:
        info: of the dictionary.
        context: most tokens of a text of the run.
        recorded: whether the run is on recorded activations.
    """
    said = list(info.remarks)
    if info.context_size and info.context_size < context:
        said.append(
            f"it was trained on texts of {info.context_size} tokens, and is measured on texts "
            f"of up to {context}"
        )
    if recorded and is_processed(info):
        said.append(
            "it was trained on processed weights, and whether the recorded activations are of "
            "such a model is not known"
        )
    return said
