"""One spoiled field of a good SAE at a time: what loaders let pass is refused, with its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.preflight import require_site
from pytest_sae.errors import DictionaryError
from tests.dictionaries.conftest import edit_config, edit_weights

Change = Callable[[dict[str, Any]], object]
Row = tuple[str, Change | None, Change | None]


def old_normalisation(config: dict[str, Any]) -> None:
    config.update(normalize_activations=True, **config.pop("metadata"))
    config.pop("sae_lens_version", None)
    config["activation_fn_str"], config["activation_fn_kwargs"] = "topk", {"k": 6}


# (what the message names, change of the configuration, change of the weights)
TABLE: dict[str, Row] = {
    "unknown architecture": ("'unheard'", lambda c: c.update(architecture="unheard"), None),
    "missing architecture": ("architecture None", lambda c: c.pop("architecture"), None),
    "wrong d_sae": ("W_dec has the shape (96, 32)", lambda c: c.update(d_sae=95), None),
    "missing tensor": ("missing b_enc", None, lambda w: w.pop("b_enc")),
    "extra tensor": ("unknown W_more", None, lambda w: w.update(W_more=torch.ones(2))),
    "bad normalisation": (
        "normalize_activations = 'sometimes'",
        lambda c: c.update(normalize_activations="sometimes"),
        None,
    ),
    "NaN in W_dec": ("W_dec (1 NaN", None, lambda w: w["W_dec"][3].__setitem__(2, torch.nan)),
    "k missing": ("declares no k", lambda c: c.pop("k"), None),
    "k above d_sae": ("from 1 to 96", lambda c: c.update(k=97), None),
    "metadata missing": ("model_name and hook_name", lambda c: c.update(metadata={}), None),
    "old boolean normalisation": ("'expected_average_only_in'", old_normalisation, None),
    "thresholds not finite": ("not finite", None, lambda w: w["b_enc"].fill_(torch.inf)),
    "rows of zeros": ("decoder rows are zero", None, lambda w: w["W_dec"].zero_()),
}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE.keys())
def test_one_spoiled_field_is_refused_by_its_name(row: Row, copy_of: Callable[..., Path]) -> None:
    named, config, weights = row
    directory = copy_of("topk")
    require_site(load(directory).info)
    if config:
        edit_config(directory, config)
    if weights:
        edit_weights(directory, weights)
    with pytest.raises(DictionaryError, match="Expected") as caught:
        require_site(load(directory).info)
    assert named in str(caught.value)
    assert str(directory) in str(caught.value)
