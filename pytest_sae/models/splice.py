"""Reading and replacing tensors inside a model that is left exactly as it was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from pytest_sae.errors import SiteError
from pytest_sae.models.site import Side

Edit = Callable[[Tensor], "Tensor | None"]


@contextmanager
def edited(module: nn.Module, side: Side, edit: Edit) -> Iterator[None]:
    """Show a module's input or output to `edit`, and put what it returns in its place.

    Args:
        module: any module whose (first) input or output is a tensor.
        side: which of the two.
        edit: returns a tensor of the same size, or None to leave things as they are.
    """
    if side == "output":
        handle = module.register_forward_hook(lambda _, __, output: _edit_output(output, edit))
    else:
        handle = module.register_forward_pre_hook(
            lambda _, args, kwargs: _edit_input(args, kwargs, edit), with_kwargs=True
        )
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def replaced_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Make a module compute something else for a while.

    Its attributes stay (Gemma and Qwen ask their blocks for the kind of attention), which they
    would not if another module stood in its place.

    Args:
        module: any.
        forward: what it computes meanwhile, with the arguments of its own.
    """
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if before is not None:
            module.forward = before


def first_tensor(value: Any) -> Tensor | None:
    """Return the tensor itself, or the first item of a tuple or list if that is a tensor."""
    if isinstance(value, tuple | list) and value:
        value = value[0]
    return value if isinstance(value, Tensor) else None


def _edit_output(output: Any, edit: Edit) -> Any:
    hidden = first_tensor(output)
    if hidden is None:
        raise SiteError(f"the module returns {type(output).__name__}, not a tensor")
    new = edit(hidden)
    if new is None:
        return None
    new = _in_place_of(hidden, new)
    return new if isinstance(output, Tensor) else type(output)((new, *output[1:]))


def _edit_input(args: tuple[Any, ...], kwargs: dict[str, Any], edit: Edit) -> Any:
    hidden = first_tensor(args) if args else kwargs.get("hidden_states")
    if hidden is None:
        raise SiteError("the module is called without a tensor of hidden states")
    new = edit(hidden)
    if new is None:
        return None
    new = _in_place_of(hidden, new)
    return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": new})


def _in_place_of(hidden: Tensor, new: Tensor) -> Tensor:
    # A copy, since some models (Falcon) add to their MLP's output in place.
    return new.reshape(hidden.shape).to(hidden.dtype, copy=True)
