"""What is refused before a dictionary is used, each with a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_sae.dictionaries.base import DictionaryInfo
from pytest_sae.dictionaries.layouts import CONFIGURATIONS
from pytest_sae.errors import DictionaryError

if TYPE_CHECKING:
    from torch import Tensor

_MOST_PRUNED = 0.5  # of the latents: beyond, it is hardly the dictionary that was trained
_UNIT_TOLERANCE = 0.02  # rows stored in bfloat16

Shapes = Mapping[str, tuple[int, ...]]


def configured(config: Mapping[str, object], family: str, source: str) -> None:
    """Refuse weights without the configuration that a family reads beside them.

    Args:
        config: of the dictionary.
        family: that was forced on it.
        source: where it is from, for messages.

    Raises:
        DictionaryError: it is empty; the message says where a configuration belongs.
    """
    if config:
        return
    raise DictionaryError(
        f"{source} is said to be of the family {family}, and comes without the configuration that "
        "says how its weights compute. Expected the one that it was published with: copy it beside "
        f"the weights under the name of its format ({CONFIGURATIONS}) and pass their directory; "
        "where there is none, say what its README says: --sae=weights_only,activation=topk,k=32,"
        f"apply_b_dec_to_input=false,model=OWNER/NAME,site=blocks.N.hook_resid_post:{source}"
    )


def count(config: Mapping[str, object], name: str, source: str, most: int | None = None) -> int:
    """Return a declared number of something: a whole number from 1 to `most`.

    Args:
        config: of the dictionary.
        name: of the key.
        source: where it is from, for messages.
        most: largest value that is allowed, None for any.

    Raises:
        DictionaryError: it is missing, no whole number, or out of range.
    """
    value = config.get(name)
    limit = "" if most is None else f" to {most}"
    if name not in config:
        raise DictionaryError(
            f"{source} declares no {name}. Expected a whole number from 1{limit}: add it to the "
            "configuration as it was in training (a loader's default would be another SAE)."
        )
    if not isinstance(value, int) or isinstance(value, bool):
        raise DictionaryError(
            f"{source} declares {name} = {value!r}. Expected a whole number from 1{limit}."
        )
    if value < 1 or (most is not None and value > most):
        raise DictionaryError(
            f"{source} declares {name} = {value}. Expected a whole number from 1{limit}: "
            "correct the configuration, or save the SAE again."
        )
    return value


def flag(config: Mapping[str, object], name: str, source: str) -> None:
    """Refuse a declared switch that is neither true nor false.

    Args:
        config: of the dictionary.
        name: of the key; one that is missing is fine.
        source: where it is from, for messages.

    Raises:
        DictionaryError: it is another value.
    """
    if not isinstance(config.get(name, False), bool):
        raise DictionaryError(
            f"{source} declares {name} = {config[name]!r}. Expected true or false."
        )


def matrix(tensors: Mapping[str, Tensor], name: str, source: str) -> tuple[int, int]:
    """Return the two sizes of a tensor, from which those of the others follow.

    Args:
        tensors: by name.
        name: of the tensor.
        source: where it is from, for messages.

    Raises:
        DictionaryError: it is missing, or has not two dimensions.
    """
    tensor = tensors.get(name)
    if tensor is None or tensor.dim() != 2:
        found = "none" if tensor is None else f"one of the shape {tuple(tensor.shape)}"
        raise DictionaryError(
            f"{source}: of {name} there is {found}. Expected two dimensions, latents and width: "
            "was it saved whole, and for one site?"
        )
    return tensor.shape[0], tensor.shape[1]


def shapes(tensors: Mapping[str, Tensor], expected: Shapes, source: str) -> None:
    """Refuse weights that are not exactly the expected tensors, floating and of their shapes.

    Args:
        tensors: by name.
        expected: the shape of each, by name.
        source: where they are from, for messages.

    Raises:
        DictionaryError: one is missing or unknown, or of another shape or type.
    """
    missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected)
    if missing or extra:
        raise DictionaryError(
            f"{source} has the tensors {', '.join(sorted(tensors)) or 'none'}. Expected "
            f"{', '.join(sorted(expected))}: missing {', '.join(missing) or 'none'}, unknown "
            f"{', '.join(extra) or 'none'}. Is its architecture right?"
        )
    for name, shape in sorted(expected.items()):
        if tuple(tensors[name].shape) != shape:
            raise DictionaryError(
                f"{source}: {name} has the shape {tuple(tensors[name].shape)}. Expected {shape} "
                "from the declared sizes or the other tensors: do the files belong together?"
            )
        if not tensors[name].is_floating_point():
            raise DictionaryError(
                f"{source}: {name} is of type {tensors[name].dtype}. Expected floating point: "
                "save the SAE unquantised."
            )


def finite(tensors: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights with NaN or Inf, naming the tensors and how many there are.

    Args:
        tensors: by name.
        source: where they are from, for messages.

    Raises:
        DictionaryError: some are not finite.
    """
    broken = [
        f"{name} ({int(tensor.isnan().sum())} NaN, {int(tensor.isinf().sum())} Inf of "
        f"{tensor.numel()})"
        for name, tensor in sorted(tensors.items())
        if not tensor.isfinite().all()
    ]
    if broken:
        raise DictionaryError(
            f"{source} has weights that are not finite: {', '.join(broken)}. Expected numbers: "
            "training diverged or the file is damaged; take an earlier checkpoint."
        )


def thresholds(threshold: Tensor, source: str) -> None:
    """Refuse negative thresholds, the mark of a training that stopped before they were set.

    Args:
        threshold: of any shape, one for each latent or for all.
        source: where it is from, for messages.

    Raises:
        DictionaryError: some are below 0.
    """
    negative = int((threshold < 0).sum())
    if negative:
        raise DictionaryError(
            f"{source} has {negative} of {threshold.numel()} thresholds below 0 (least "
            f"{threshold.min().item():g}). Expected 0 or more: training stopped before they were "
            "estimated; train on, or set them and save again."
        )


def decoder(rows: Tensor, source: str) -> None:
    """Refuse decoder rows (d_sae, d_out) most of which are zero; a few are pruned latents.

    Args:
        rows: the decoder's weights.
        source: what the message calls the dictionary.
    """
    zero = int((rows == 0).all(dim=1).sum())
    if zero == len(rows):
        raise DictionaryError(
            f"{source}: all {zero} decoder rows are zero. Expected rows that write something: "
            "was it saved before training began?"
        )
    if zero > _MOST_PRUNED * len(rows):
        raise DictionaryError(
            f"{source}: {zero} of {len(rows)} decoder rows are zero. Expected {_MOST_PRUNED:.0%} "
            "at most: remove the latents that write nothing, and save again."
        )


def unit_rows(rows: Tensor, source: str) -> None:
    """Refuse rows that are not of length one, where the encoder takes that for granted.

    Args:
        rows: (d_sae, d_out) the decoder's weights.
        source: what the message calls the dictionary.
    """
    lengths = rows.double().norm(dim=1)
    off = int(((lengths - 1).abs() > _UNIT_TOLERANCE).sum())
    if off:
        raise DictionaryError(
            f"{source}: {off} of {len(rows)} decoder rows are not of length 1 (from "
            f"{lengths.min().item():g} to {lengths.max().item():g}). Expected length 1: its "
            "pursuit would not converge; normalise the rows as in training and save again."
        )


def require_site(info: DictionaryInfo) -> None:
    """Refuse a dictionary that does not say which model and which site it belongs to.

    Raises:
        DictionaryError: the model or the hook name is undeclared.
    """
    declared = {"model_name": info.model, "hook_name": info.hook_in}
    missing = [name for name, value in declared.items() if not value]
    if missing:
        asked = {"model": info.model, "site": info.hook_in}
        names = ",".join(f"{name}=..." for name, value in asked.items() if not value)
        theirs = info.family.startswith("sae_lens")
        added = "add them to `metadata` in its configuration, or say" if theirs else "say"
        hint = f" Its path or README suggests {info.suggestion}: check that."
        path = hint if info.suggestion else ""
        raise DictionaryError(
            f"{info.source} does not declare {' and '.join(missing)}. Expected the model and the "
            f"hook that it was trained on: {added} "
            f"--sae={names}:{info.source} (a model alone also by --sae-model).{path}"
        )
