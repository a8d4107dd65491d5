"""A module's state_dict that was saved together with other things."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pytest_sae.dictionaries.content import Content

_WRAPPERS = ("state_dict", "model_state_dict", "sae", "model")
_CONFIGURATIONS = ("config", "cfg")


def unwrapped(content: Content) -> Content:
    """Return the content with the names that the module itself has.

    `{"config": {...}, "state_dict": {...}}` loses its outer level; other content stays as it is.
    """
    first = {name.partition(".")[0] for name in content.tensors}
    wrapper = first.pop() if len(first) == 1 else ""
    if wrapper not in _WRAPPERS:
        return content
    config = dict(content.config)
    for name in _CONFIGURATIONS:
        inner = config.pop(name, {})
        config |= inner if isinstance(inner, Mapping) else {}
    tensors = {name.partition(".")[2]: tensor for name, tensor in content.tensors.items()}
    return replace(content, config=config, tensors=tensors)
