"""What TransformerLens does to a model's weights before an SAE is trained on its activations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from pytest_sae.errors import SiteError

#: Where metadata have what TransformerLens was told.
ARGUMENTS = "model_from_pretrained_kwargs"
_UNKNOWN = ("refactor_factored_attn_matrices",)


@dataclass(frozen=True)
class Processing:
    """Changes of a model's weights that keep its predictions and change what its sites hold.

    Args:
        fold_ln: weights and biases of the norms are moved to what reads them, so that a norm
            gives the normalised stream itself.
        center_writing_weights: what is written to the stream has mean zero over its dimensions,
            in models with LayerNorm, which ignores that mean; TransformerLens leaves others alone.
        fold_value_biases: the bias of the heads' values is moved to that of the attention's
            output, so that the heads' outputs lack it.
    """

    fold_ln: bool = False
    center_writing_weights: bool = False
    fold_value_biases: bool = False

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))


NONE = Processing()


def declared(metadata: Mapping[str, object]) -> Processing:
    """Return the processing that an SAE's metadata declare.

    sae_lens loads HookedTransformer without processing, but for what
    `model_from_pretrained_kwargs` switches on; other model classes have none.

    Args:
        metadata: `model_class_name` and `model_from_pretrained_kwargs` as sae_lens writes them.

    Raises:
        SiteError: processing that cannot be repeated, or no booleans.
    """
    arguments = metadata.get(ARGUMENTS) or {}
    hooked = metadata.get("model_class_name") in (None, "HookedTransformer")
    if not isinstance(arguments, Mapping) or not hooked:
        return NONE
    names = [each.name for each in fields(Processing)]
    wanted = {name: arguments.get(name, False) for name in (*names, *_UNKNOWN)}
    for name, value in wanted.items():
        if not isinstance(value, bool):
            raise SiteError(f"{name} is {value!r}: expected true or false, as TransformerLens does")
        if value and name in _UNKNOWN:
            raise SiteError(
                f"the SAE was trained on a model with {name}, which turns what the heads give "
                "into another basis: train it without"
            )
    return Processing(**{name: wanted[name] for name in names})
