"""Which group each token is of."""

import torch

from pytest_sae.metrics.token_groups import token_groups


def test_every_token_but_padding_is_in_exactly_one_group() -> None:
    attention = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]).bool()
    valid = torch.tensor([[0, 1, 1, 0, 1], [1, 1, 0, 0, 0]]).bool()
    found = token_groups(valid, attention)
    assert found["special"].int().tolist() == [[1, 0, 0, 1, 0], [0, 0, 0, 0, 0]]
    assert found["first"].int().tolist() == [[0, 1, 0, 0, 0], [1, 0, 0, 0, 0]]
    assert found["ordinary"].int().tolist() == [[0, 0, 1, 0, 1], [0, 1, 0, 0, 0]]
