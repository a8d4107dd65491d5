"""Whether somebody's own object keeps the Dictionary protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from pytest_sae.dictionaries.base import Dictionary, DictionaryInfo
from pytest_sae.dictionaries.prove import prove
from pytest_sae.errors import DictionaryError

_ATTRIBUTES = ("info", "fingerprint", "d_in", "d_out", "d_sae", "device", "dtype")
_OPTIONAL = ("decoder_rows", "encoder_rows")
_METHODS = ("encode", "reconstruct", "contribution", "const")
_TOKENS = 5


def check(dictionary: object) -> Dictionary:
    """Return the object if it keeps the protocol `Dictionary`, else say all that is missing.

    For objects that no family here makes: your own class, given by a fixture of your conftest or
    by an entry point. This one is a whole dictionary:

    >>> import torch
    >>> from pytest_sae.dictionaries.base import DictionaryInfo
    >>> class Identity:
    ...     '''Latent 2 i is x_i where that is positive, latent 2 i + 1 where it is negative.'''
    ...     info = DictionaryInfo("mine", "identity", "gpt2", "transformer.h.3", "transformer.h.3")
    ...     fingerprint = "identity of 8"
    ...     d_in, d_out, d_sae = 8, 8, 16
    ...     device, dtype = torch.device("cpu"), torch.float32
    ...     decoder_rows = encoder_rows = torch.kron(torch.eye(8), torch.tensor([[1.0], [-1.0]]))
    ...     def encode(self, x):
    ...         return (x @ self.encoder_rows.T).relu()
    ...     def reconstruct(self, x):
    ...         return self.encode(x) @ self.decoder_rows
    ...     def contribution(self, x, z, latents):
    ...         return z[:, latents] @ self.decoder_rows[latents]
    ...     def const(self, x):
    ...         return torch.zeros_like(x)
    >>> check(Identity()).d_sae
    16

    Args:
        dictionary: any object.

    Raises:
        DictionaryError: attributes or methods that are missing, of another type or shape, or an
            identity that does not hold (`prove`).
    """
    absent = [name for name in (*_ATTRIBUTES, *_OPTIONAL) if not hasattr(dictionary, name)]
    absent += [f"{name}()" for name in _METHODS if not callable(getattr(dictionary, name, None))]
    if absent:
        raise DictionaryError(_said(dictionary, [f"has no {', '.join(absent)}"]))
    kept: Any = dictionary
    wrong = list(_attributes(kept)) or list(_outputs(kept))
    if wrong:
        raise DictionaryError(_said(dictionary, wrong))
    prove(kept)
    checked: Dictionary = kept
    return checked


def _said(dictionary: object, wrong: list[str]) -> str:
    return (
        f"{type(dictionary).__name__} is no dictionary: it {'; it '.join(wrong)}. Expected what "
        "pytest_sae.dictionaries.base.Dictionary describes."
    )


def _attributes(it: Any) -> Iterator[str]:
    """What is wrong with the attributes."""
    for name, kind in (
        ("info", DictionaryInfo),
        ("fingerprint", str),
        ("device", torch.device),
        ("dtype", torch.dtype),
    ):
        if not isinstance(getattr(it, name), kind):
            yield f"has a {type(getattr(it, name)).__name__} as {name}, not a {kind.__name__}"
    if it.fingerprint == "":
        yield "has an empty fingerprint, which caches would share with others"
    sizes = {name: getattr(it, name) for name in ("d_in", "d_out", "d_sae")}
    bad = {name: size for name, size in sizes.items() if type(size) is not int or size < 1}
    for name, size in bad.items():
        yield f"has {size!r} as {name}, not a whole number of 1 or more"
    if not bad:
        yield from _tensor("decoder_rows", it.decoder_rows, (it.d_sae, it.d_out), it)
        yield from _tensor("encoder_rows", it.encoder_rows, (it.d_sae, it.d_in), it)


def _outputs(it: Any) -> Iterator[str]:
    """What is wrong with what the methods return."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(_TOKENS, it.d_in, generator=generator).to(device=it.device, dtype=it.dtype)
    before, z = x.clone(), torch.zeros(_TOKENS, it.d_sae, device=it.device, dtype=it.dtype)
    some = torch.arange(it.d_sae, device=it.device)[::2]
    calls: dict[str, tuple[Callable[[], object], int]] = {
        "encode(x)": (lambda: it.encode(x), it.d_sae),
        "reconstruct(x)": (lambda: it.reconstruct(x), it.d_out),
        "const(x)": (lambda: it.const(x), it.d_out),
        "contribution(x, z, latents)": (lambda: it.contribution(x, z, some), it.d_out),
    }
    with torch.inference_mode():
        for name, (call, width) in calls.items():
            try:
                result = call()
            except Exception as error:
                yield f"raises {type(error).__name__} in {name} ({error})"
            else:
                yield from _tensor(name, result, (_TOKENS, width), it, needed=True)
        if not torch.equal(x, before):
            yield "changes the activations that it is given"
        if not torch.equal(it.encode(x), it.encode(x)):
            yield "encodes the same tokens differently the second time"


def _tensor(
    name: str, value: object, shape: tuple[int, int], it: Any, needed: bool = False
) -> Iterator[str]:
    if value is None and not needed:
        return
    if not isinstance(value, Tensor):
        yield f"has a {type(value).__name__} as {name}, not a tensor"
    elif tuple(value.shape) != shape:
        yield f"has {name} of the shape {tuple(value.shape)}, not {shape}"
    elif value.device.type != it.device.type or not value.is_floating_point():
        yield f"has {name} as {value.dtype} on {value.device}, not as numbers on {it.device}"
