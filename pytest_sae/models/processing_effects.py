"""Whether processing changes what a model's sites hold, and where that has no single meaning."""

from __future__ import annotations

from typing import Any

from torch import nn

from pytest_sae.errors import SiteError
from pytest_sae.models import blocks, norms
from pytest_sae.models.processing import Processing


def centres(hook_name: str, hf: Any) -> bool:
    """Return whether TransformerLens centres what this model writes to its stream.

    It does with LayerNorm, and then the stream is x - mean(x) at every token; with RMSNorm it
    leaves the weights alone.

    Args:
        hook_name: of the site, for the message.
        hf: model of transformers.

    Raises:
        SiteError: the model has norms in the stream itself, whose outputs are not centred.
    """
    block, width = blocks.find_blocks(hf)[1][0], hf.config.get_text_config().hidden_size
    if not any(norms.ignores_mean(norm, width) for norm in _of_stream(block, width)):
        return False
    inside = [path for path, _ in blocks.norms(hf) if "embed" in path]
    if blocks.first_norm(block) is None or blocks.has_post_norms(block) or inside:
        raise SiteError(
            f"{hook_name}: the SAE was trained with center_writing_weights, but "
            f"{type(hf).__name__} has norms in the stream itself "
            f"({', '.join(inside) or 'in its blocks'}), which add a mean again: train it without"
        )
    return True


def require_one_meaning(hook_name: str, hf: Any, module: str, processing: Processing) -> None:
    """Refuse hook_normalized of a LayerNorm that was not folded.

    TransformerLens emits it before the norm's weight since 3.0, and after it in 1.x and 2.x; of a
    folded norm, and of an RMSNorm, both emit the normalised stream.

    Args:
        hook_name: of the site, for the message.
        hf: model of transformers.
        module: path of the norm in it.
        processing: that the SAE was trained under.

    Raises:
        SiteError: the two meanings would differ.
    """
    norm, width = hf.get_submodule(module), hf.config.get_text_config().hidden_size
    if processing.fold_ln or next(norm.parameters(), None) is None:
        return
    if norms.ignores_mean(norm, width):
        raise SiteError(
            f"{hook_name}: versions of TransformerLens differ in whether this is before or after "
            f"the norm's weight, unless fold_ln was on: name the module {module} for after it, or "
            "declare fold_ln for before it"
        )


def drops_mean(hf: Any, module: str, processing: Processing) -> bool:
    """Return whether what reads a folded norm ignores the mean of what it is given.

    What a LayerNorm gives has mean zero, so TransformerLens takes the mean out of the weights that
    read it; a reconstruction's mean is lost on them.

    Args:
        hf: model of transformers.
        module: path of the norm in it.
        processing: that the SAE was trained under.
    """
    width = hf.config.get_text_config().hidden_size
    return processing.fold_ln and norms.ignores_mean(hf.get_submodule(module), width)


def _of_stream(block: nn.Module, width: int) -> list[nn.Module]:
    found = [each for _, each in blocks.norms(block)]
    return [
        norm for norm in found if all(len(parameter) == width for parameter in norm.parameters())
    ]
