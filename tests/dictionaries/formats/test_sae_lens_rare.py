"""sae_lens' rarer architectures: signed codes, pursuits, transcoders, nested SAEs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pytest_sae.dictionaries.base import Dictionary
from pytest_sae.dictionaries.load import load
from pytest_sae.errors import DictionaryError
from tests.dictionaries.conftest import edit_config, edit_weights
from tests.dictionaries.formats import sae_lens_files
from tests.dictionaries.formats.sae_lens_files import RARE, TRANSCODERS, outputs, tokens
from tests.tiny import tiny_sae


def refusal(path: Path, **settings: str) -> str:
    with pytest.raises(DictionaryError, match="Expected") as caught:
        load(path, settings=list(settings.items()))
    assert str(path) in str(caught.value)
    return str(caught.value)


def weights(directory: Path) -> dict[str, Tensor]:
    return load_file(directory / "sae_weights.safetensors")


@pytest.mark.parametrize("arch", RARE)
def test_codes_and_reconstruction_are_those_of_sae_lens_to_the_bit(
    arch: str, tmp_path: Path
) -> None:
    directory = sae_lens_files.write(tmp_path, arch)
    dictionary, x = load(directory), tokens()
    z, reconstructed = outputs(directory, x)
    assert 0 < (z != 0).sum() < z.numel()
    assert torch.equal(dictionary.encode(x), z)
    assert torch.equal(dictionary.reconstruct(x), reconstructed)
    assert dictionary.info.family == f"sae_lens.{arch}"


@pytest.mark.parametrize("arch", RARE)
def test_ablating_latents_removes_what_sae_lens_would_no_longer_decode(
    arch: str, tmp_path: Path
) -> None:
    directory = sae_lens_files.write(tmp_path, arch)
    dictionary, x = load(directory), tokens()
    z = dictionary.encode(x)
    latents = torch.tensor([0, 7, 40])
    kept = z.clone()
    kept[:, latents] = 0
    w = weights(directory)
    removed = z @ w["W_dec"] - kept @ w["W_dec"]
    torch.testing.assert_close(dictionary.contribution(x, z, latents), removed)
    skipped = x @ w["W_skip"].T if "W_skip" in w else torch.zeros(1)
    torch.testing.assert_close(
        dictionary.const(x), (w["b_dec"] + skipped).expand(len(x), -1), rtol=1e-6, atol=1e-6
    )


def test_abstopk_keeps_the_k_largest_in_size_with_their_signs(tmp_path: Path) -> None:
    directory = sae_lens_files.write(tmp_path, "abstopk")
    dictionary, x, w = load(directory), tokens(), weights(directory)
    pre = (x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    least = pre.abs().sort(dim=1, descending=True).values[:, 4:5]
    torch.testing.assert_close(dictionary.encode(x), pre * (pre.abs() >= least))
    assert (dictionary.encode(x) < 0).any()
    assert dictionary.info.k == 5


def pursuit(x: Tensor, rows: Tensor, steps: int, least: float, stops: bool) -> Tensor:
    """Greedy pursuit of one token, written out step by step."""
    z, residual, support = torch.zeros(len(rows)), x.clone(), set()
    for _ in range(steps):
        scores = rows @ residual
        best = int(scores.clamp(min=0).argmax())
        value = scores[best].clamp(min=0)
        z[best] += value
        residual = residual - value * rows[best]
        before, support = support, {int(i) for i in z.nonzero()}
        if (stops and support == before) or (least > 0 and residual.norm() < least):
            break
    return z


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize(
    "rules",
    [
        {"max_iterations": 4},
        {"max_iterations": 40, "residual_threshold": 3.0},
        {"max_iterations": 12, "stop_on_duplicate_support": False, "residual_threshold": 0.0},
        {},
    ],
    ids=["steps", "threshold", "repeats", "default"],
)
def test_matching_pursuit_stops_where_sae_lens_stops(
    rules: dict[str, Any], centred: bool, tmp_path: Path
) -> None:
    directory = sae_lens_files.write(
        tmp_path, "matching_pursuit", apply_b_dec_to_input=centred, **rules
    )
    dictionary, x, w = load(directory), tokens(30), weights(directory)
    z, reconstructed = outputs(directory, x)
    assert torch.equal(dictionary.encode(x), z)
    assert torch.equal(dictionary.reconstruct(x), reconstructed)
    centre = w["b_dec"] if centred else torch.zeros(32)
    steps, least = rules.get("max_iterations", 32), rules.get("residual_threshold", 1e-2)
    stops = rules.get("stop_on_duplicate_support", True)
    slow = torch.stack([pursuit(t - centre, w["W_dec"], steps, least, stops) for t in x])
    torch.testing.assert_close(z, slow, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dictionary.const(x), centre.expand(30, -1))


def test_a_pursuit_encodes_a_token_alone_as_it_does_among_others(tmp_path: Path) -> None:
    dictionary = load(sae_lens_files.write(tmp_path, "matching_pursuit"))
    x = tokens(12) * torch.linspace(1e-3, 3, 12)[:, None]
    alone = torch.cat([dictionary.encode(token[None]) for token in x])
    torch.testing.assert_close(dictionary.encode(x), alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.pop("residual_threshold"),
        lambda config: config.update(residual_threshold="low"),
        lambda config: config.update(residual_threshold=float("nan")),
        lambda config: config.update(max_iterations=0),
        lambda config: config.update(max_iterations=10**12, residual_threshold=0.0),
        lambda config: config.update(max_iterations=2.5),
        lambda config: config.update(stop_on_duplicate_support="yes"),
    ],
)
def test_a_pursuit_without_its_stopping_rules_is_refused(change: Any, tmp_path: Path) -> None:
    refusal(edit_config(sae_lens_files.write(tmp_path, "matching_pursuit"), change))


def test_a_pursuit_whose_rows_are_not_of_length_one_is_refused(tmp_path: Path) -> None:
    directory = sae_lens_files.write(tmp_path, "matching_pursuit")
    edit_weights(directory, lambda w: w["W_dec"][3].mul_(2))
    assert "1 of 48 decoder rows are not of length 1" in refusal(directory)


@pytest.mark.parametrize("arch", TRANSCODERS)
def test_a_transcoder_may_write_another_width_and_another_site(arch: str, tmp_path: Path) -> None:
    directory = sae_lens_files.write(tmp_path, arch, d_out=20)
    dictionary, x = load(directory), tokens()
    z, reconstructed = outputs(directory, x)
    assert (dictionary.d_in, dictionary.d_out, dictionary.d_sae) == (32, 20, 48)
    assert torch.equal(dictionary.encode(x), z)
    assert torch.equal(dictionary.reconstruct(x), reconstructed)
    assert dictionary.info.hook_in == "blocks.1.ln2.hook_out"
    assert dictionary.info.hook_out == "blocks.1.hook_mlp_out"


def test_the_skip_connection_counts_in_reconstruction_and_in_no_latent(tmp_path: Path) -> None:
    dictionary = load(sae_lens_files.write(tmp_path, "skip_transcoder"))
    x, everything = tokens(), torch.arange(48)
    z = dictionary.encode(x)
    decoded = z @ rows_of(dictionary)
    assert not torch.allclose(dictionary.reconstruct(x), decoded, atol=0.5)
    torch.testing.assert_close(
        dictionary.reconstruct(x), dictionary.const(x) + dictionary.contribution(x, z, everything)
    )


def rows_of(dictionary: Dictionary) -> Tensor:
    assert dictionary.decoder_rows is not None
    return dictionary.decoder_rows


@pytest.mark.parametrize("arch", TRANSCODERS)
@pytest.mark.parametrize(
    "spoiled",
    [{"apply_b_dec_to_input": True}, {"normalize_activations": "layer_norm"}],
    ids=["b_dec", "layer_norm"],
)
def test_a_transcoder_that_would_mix_its_two_sites_is_refused(
    arch: str, spoiled: dict[str, object], tmp_path: Path
) -> None:
    directory = sae_lens_files.write(tmp_path, arch)
    edit_config(directory, lambda config: config.update(spoiled))
    assert "is a transcoder with" in refusal(directory)


def test_a_transcoder_without_its_output_width_is_refused(tmp_path: Path) -> None:
    directory = sae_lens_files.write(tmp_path, "transcoder")
    assert "no d_out" in refusal(edit_config(directory, lambda config: config.pop("d_out")))


def test_a_matryoshka_sae_tells_its_widths(tmp_path: Path) -> None:
    info = load(sae_lens_files.write_matryoshka(tmp_path)).info
    assert info.family == "sae_lens.matryoshka_batchtopk"
    assert info.prefixes == (8, 20, 48)
    assert info.k == 6


@pytest.mark.parametrize("prefix", [8, 20, 48])
def test_a_prefix_is_the_sae_of_the_first_latents_alone(prefix: int, tmp_path: Path) -> None:
    directory = sae_lens_files.write_matryoshka(tmp_path)
    whole, nested = load(directory), load(directory, settings=[("prefix", str(prefix))])
    x, w = tokens(), weights(directory)
    z = whole.encode(x)[:, :prefix]
    assert nested.d_sae == prefix
    assert nested.info.k is None
    torch.testing.assert_close(nested.encode(x), z, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        nested.reconstruct(x), z @ w["W_dec"][:prefix] + w["b_dec"], rtol=1e-5, atol=1e-5
    )
    assert (nested.fingerprint == whole.fingerprint) == (prefix == 48)


@pytest.mark.parametrize("prefix", ["9", "0", "-8", "8.0", "49", "eight", "٨", "9" * 5000])
def test_a_prefix_that_training_did_not_have_is_refused(prefix: str, tmp_path: Path) -> None:
    refusal(sae_lens_files.write_matryoshka(tmp_path), prefix=prefix)


def test_a_prefix_of_what_is_not_nested_is_refused(tmp_path: Path) -> None:
    assert "no Matryoshka" in refusal(tiny_sae(tmp_path, "batchtopk"), prefix="8")


def test_widths_that_make_no_sense_are_no_widths(tmp_path: Path) -> None:
    directory = sae_lens_files.write_matryoshka(tmp_path)
    for widths in ([], [20, 8], [0, 48], [8, 96], ["8"], [8, 8], "8", None, [True, 48]):
        details = {"matryoshka_widths": widths}
        edit_config(
            directory,
            lambda c, d=details: c["metadata"].update(training_architecture_details=d),
        )
        assert load(directory).info.prefixes == ()


@pytest.mark.parametrize("arch", RARE)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_every_type_of_computing_is_proven(arch: str, dtype: torch.dtype, tmp_path: Path) -> None:
    dictionary = load(sae_lens_files.write(tmp_path, arch), dtype=dtype)
    assert dictionary.reconstruct(tokens()).dtype == dtype
