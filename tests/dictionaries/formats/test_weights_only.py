"""Weights that come with a README alone are read as the user says, and ask for what they need."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pytest_sae.dictionaries.load import load
from pytest_sae.dictionaries.preflight import require_site
from pytest_sae.dictionaries.spec import resolve
from pytest_sae.errors import DictionaryError
from tests.dictionaries.contents import CLOSE, behaves, largest, random, tokens, unit
from tests.dictionaries.hub.hub_cache_files import below, cache, files_in

D, M, K = 12, 40, 5
README = "---\nlicense: mit\nbase_model: lab/model\ntags: [sae]\n---\n# An SAE\n---\nk is 5\n"


def weights() -> dict[str, Tensor]:
    return {
        "W_enc": random(D, M, seed=1),
        "b_enc": random(M, seed=2, scale=0.1),
        "W_dec": unit(M, D, seed=3),
        "b_dec": random(D, seed=4, scale=0.3),
    }


def turned(form: str) -> dict[str, Tensor]:
    """The same weights under the names of torch's Linear."""
    w = weights()
    linear = {"encoder.weight": w["W_enc"].T, "encoder.bias": w["b_enc"]}
    decoder = {"decoder.weight": w["W_dec"].T, "decoder.bias": w["b_dec"]}
    if form == "W_dec":
        return linear | {"W_dec": w["W_dec"], "b_dec": w["b_dec"]}
    if form == "b_dec":
        return linear | {"decoder.weight": decoder["decoder.weight"], "b_dec": w["b_dec"]}
    middle = "_linear." if form == "_linear" else "."
    return {n.replace(".", middle): t for n, t in (linear | decoder).items()}


def write(directory: Path, w: dict[str, Tensor] | None = None, readme: str = README) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "layer_3.safetensors"
    save_file({n: t.contiguous() for n, t in (w or weights()).items()}, path)
    (directory / "README.md").write_text(readme)
    return path


def explicit(x: Tensor, activation: str, centred: bool) -> Tensor:
    w = weights()
    before = (x - w["b_dec"] if centred else x) @ w["W_enc"] + w["b_enc"]
    return before.clamp(min=0) if activation == "relu" else largest(before.clamp(min=0), K)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("activation", ["relu", "topk"])
@pytest.mark.parametrize("form", ["", "W_dec", "b_dec", "_linear"])
def test_it_computes_what_is_said(
    form: str, activation: str, centred: bool, tmp_path: Path
) -> None:
    settings = {"activation": activation, "apply_b_dec_to_input": str(centred).lower()}
    settings |= {"k": str(K)} if activation == "topk" else {}
    path, x = write(tmp_path, turned(form) if form else weights()), tokens(d_in=D)
    ours = load(path, settings=list(settings.items()))
    behaves(ours, x, explicit(x, activation, centred), weights()["W_dec"], weights()["b_dec"])
    assert (ours.info.family, ours.info.model) == (f"weights_only.{activation}", None)


def test_a_linear_decoder_with_its_own_bias_is_read_when_it_is_forced(tmp_path: Path) -> None:
    """Unforced it is dictionary_learning's AutoEncoderNew, which is that formula."""
    path, x = write(tmp_path, turned("decoder.bias")), tokens(d_in=D)
    given = [("activation", "relu"), ("apply_b_dec_to_input", "false")]
    forced = load(path, family="weights_only", settings=given)
    assert load(path).info.family == "dictionary_learning.standard_new"
    torch.testing.assert_close(forced.encode(x), load(path).encode(x), **CLOSE)


def refusal(path: Path, **settings: str) -> str:
    with pytest.raises(DictionaryError, match="Expected") as caught:
        load(path, settings=list(settings.items()))
    return str(caught.value)


def test_what_is_missing_is_asked_for_with_the_line_to_type(tmp_path: Path) -> None:
    path = write(tmp_path)
    message = refusal(path)
    assert "has weights alone (W_dec, W_enc, b_dec, b_enc)" in message
    (line,) = re.findall(r"--sae=(\S+)", message)
    assert line == (
        "weights_only,activation=topk|relu,k=32,apply_b_dec_to_input=true|false,"
        f"model=lab/model,site=blocks.N.hook_resid_post:{path}"
    )
    chosen = line.replace("topk|", "").replace("k=32,", "").replace("true|", "")
    (spec,) = resolve([chosen])
    assert load(spec.path, family=spec.family, settings=spec.settings).info.model == "lab/model"


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"activation": "topk", "apply_b_dec_to_input": "true"}, "k is missing"),
        ({"activation": "relu", "k": "3", "apply_b_dec_to_input": "true"}, "k is missing or does"),
        ({"activation": "gelu", "apply_b_dec_to_input": "true"}, "activation is missing or does"),
        ({"activation": "relu"}, "apply_b_dec_to_input is missing"),
        ({"activation": "topk", "k": "41"}, "from 1 to 40"),
        ({"activation": "relu", "apply_b_dec_to_input": "perhaps"}, "true or false"),
    ],
)
def test_settings_that_do_not_say_how_it_computes_are_refused(
    settings: dict[str, str], missing: str, tmp_path: Path
) -> None:
    assert missing in refusal(write(tmp_path), **settings)


def test_a_bias_of_zeros_needs_no_word_about_it(tmp_path: Path) -> None:
    path = write(tmp_path, {**weights(), "b_dec": torch.zeros(D)})
    plain = load(path, settings=[("activation", "relu")])
    stated = load(path, settings=[("activation", "relu"), ("apply_b_dec_to_input", "true")])
    x = tokens(d_in=D)
    assert torch.equal(plain.encode(x), stated.encode(x))


def test_the_readme_suggests_a_model_and_decides_none(tmp_path: Path) -> None:
    given = {"activation": "relu", "apply_b_dec_to_input": "true"}
    info = load(write(tmp_path), settings=list(given.items())).info
    with pytest.raises(DictionaryError, match=r"README suggests model=lab/model: check that"):
        require_site(info)


def test_on_the_hub_the_readme_comes_along(tmp_path: Path, home: Path) -> None:
    write(tmp_path / "made")
    cache(home, "lab/saes", below("l3", files_in(tmp_path / "made")))
    (spec,) = resolve(["hf:lab/saes/l3/layer_3.safetensors"])
    assert "model=lab/model" in refusal(Path(spec.path))


@pytest.mark.parametrize(
    "readme",
    ["", "# no head", "---\nbase_model: [a, b]\n---\n", "---\n: [\n---\n", "---\n- 3\n---\n",
     "---\nbase_model: lab/model\n", "---\nbase_model: {a: 1}\n---\n", "---\nx: &a [*a]\n---\n"],
)  # fmt: skip
def test_a_readme_that_says_nothing_is_no_obstacle(readme: str, tmp_path: Path) -> None:
    assert "model=OWNER/NAME" in refusal(write(tmp_path, readme=readme))


def test_a_square_matrix_lies_as_its_name_says_or_is_noticed(tmp_path: Path) -> None:
    square = {"W_enc": unit(D, D, seed=1).T, "W_dec": unit(D, D, seed=1)}
    w = square | {"b_enc": torch.zeros(D), "b_dec": torch.zeros(D)}
    x = tokens(d_in=D)
    ours = load(write(tmp_path / "a", w), settings=[("activation", "relu")])
    torch.testing.assert_close(ours.encode(x), (x @ w["W_enc"]).clamp(min=0), **CLOSE)
    spoiled = write(tmp_path / "b", {**w, "W_dec": w["W_dec"].T})
    assert "only when it is transposed" in refusal(spoiled, activation="relu")


def test_forced_on_other_tensors_it_says_the_names_that_it_knows(tmp_path: Path) -> None:
    path = write(tmp_path, {"other": torch.ones(3)})
    with pytest.raises(DictionaryError, match="by one of these names: W_enc, b_enc"):
        load(path, family="weights_only")
