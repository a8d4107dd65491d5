"""What may be corrected in sae_lens' configurations, by a setting or by its table of releases.

One table serves both sides: `hub_releases` makes these settings of what sae_lens' table corrects,
and the family reads them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from pytest_sae.dictionaries.content import Content, switch_setting
from pytest_sae.errors import DictionaryError

#: What the activations were multiplied by in training, where the weights have it not.
NORM_FACTOR = "norm_factor"
NORMALISATION = "normalize_activations"
#: What TransformerLens does to a model's weights unless it is told otherwise; `models.processing`
#: knows what it means.
PROCESSED = ("fold_ln", "center_writing_weights", "fold_value_biases")
#: All that it may do to them.
PROCESSING = (*PROCESSED, "refactor_factored_attn_matrices")
#: Where configurations have what the model was loaded with.
ARGUMENTS = "model_from_pretrained_kwargs"
#: All of them.
CORRECTIONS = (NORM_FACTOR, NORMALISATION, *PROCESSING)
#: The normalisation whose factor is a number of the whole data set.
SCALED = "expected_average_only_in"


def corrected(config: Mapping[str, object], content: Content) -> dict[str, object]:
    """Return a configuration of the 6.0 form with the settings of a content in it.

    Args:
        config: with its `metadata`.
        content: whose settings count.

    Raises:
        DictionaryError: a setting that is no value of its kind, or processing of a model that
            TransformerLens has not loaded.
    """
    chosen = content.settings.get(NORMALISATION, config.get(NORMALISATION, "none"))
    given = {name: switch_setting(content, name) for name in PROCESSING}
    processing = {name: value for name, value in given.items() if value is not None}
    metadata = config.get("metadata") or {}
    if not processing or not isinstance(metadata, Mapping):
        return {**config, NORMALISATION: chosen}
    _refuse_other_models(metadata, processing, content.source)
    stored = metadata.get(ARGUMENTS)
    arguments = {**(stored if isinstance(stored, Mapping) else {}), **processing}
    return {**config, NORMALISATION: chosen, "metadata": {**metadata, ARGUMENTS: arguments}}


def norm_factor(content: Content) -> float | None:
    """Return the factor that is given, None where there is none.

    Raises:
        DictionaryError: no positive number.
    """
    text = content.settings.get(NORM_FACTOR)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if 0 < value < math.inf:
        return value
    raise DictionaryError(
        f"{content.source} is given {NORM_FACTOR}={text}. Expected the positive number that "
        "activations were multiplied by in training."
    )


def _refuse_other_models(
    metadata: Mapping[str, object], processing: Mapping[str, bool], source: str
) -> None:
    """Refuse processing that would be ignored, because only TransformerLens does it."""
    kind = metadata.get("model_class_name")
    asked = [name for name, value in processing.items() if value]
    if asked and kind not in (None, "HookedTransformer"):
        raise DictionaryError(
            f"{source} is given {', '.join(asked)}, and was trained on a model of the class {kind},"
            " whose weights are not processed. Expected HookedTransformer: leave the setting out."
        )
