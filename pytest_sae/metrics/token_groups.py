"""Which kind of token each token is: what a dictionary does to the first of a text is not typical.

token_groups(valid, attention) -> {group: mask}
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Group = Literal["ordinary", "first", "special"]
GROUPS: tuple[Group, ...] = ("ordinary", "first", "special")


def token_groups(valid: Tensor, attention: Tensor) -> dict[Group, Tensor]:
    """Return the mask of each group, (text, pos) bool; every token but padding is in one.

    Args:
        valid: (text, pos) bool, no BOS, EOS or padding.
        attention: (text, pos) bool, no padding.

    Returns:
        `first`: each text's first valid token; `ordinary`: its other valid tokens; `special`: BOS,
        EOS and those of a chat template.

    >>> import torch
    >>> valid = torch.tensor([[False, True, True, False]])
    >>> found = token_groups(valid, torch.tensor([[True, True, True, False]]))
    >>> {group: mask[0].nonzero()[:, 0].tolist() for group, mask in found.items()}
    {'ordinary': [2], 'first': [1], 'special': [0]}
    """
    first = valid & (valid.cumsum(1) == 1)
    return {"ordinary": valid & ~first, "first": first, "special": attention & ~valid}
