"""Fitting a baseline dictionary, SNMF, to recorded activations, as a file for `--sae`.

fit_recording(recording, rank, file, seed, tokens) -> the value of --sae
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from pytest_sae.activations.recording import Recording
from pytest_sae.activations.store import Store
from pytest_sae.dictionaries.factorisation import fit_snmf
from pytest_sae.errors import DataError

TOKENS = 20_000  # more tell a few hundred latents nothing new


def fit_recording(
    directory: Path | str, rank: int, file: Path, seed: int = 0, tokens: int = TOKENS
) -> str:
    """Fit a semi-nonnegative factorisation to a recording and write its matrix F.

    Record other texts for it than those that the run measures on: it would know them already.

    Args:
        directory: the recording, mostly of MLP activations (`blocks.L.mlp.hook_post`).
        rank: number of latents.
        file: new `.safetensors` file to write to.
        seed: of the start.
        tokens: at most so many are fitted, evenly spread over the texts.

    Returns:
        What to type after `--sae=`.

    Raises:
        DataError: a recording that cannot be used, or a file that is there.
        DictionaryError: a rank that the tokens cannot have.
    """
    if file.suffix != ".safetensors" or file.exists():
        why = "is there already" if file.exists() else "is no .safetensors file"
        raise DataError(f"{file} {why}. Expected the name of a new .safetensors file.")
    recording = Recording.open(directory)
    rows = fit_snmf(_spread(recording, tokens), rank, seed).decoder_rows
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({"F": rows.T.float().contiguous()}, file)
    about = recording.about
    return f"snmf,model={about.model.name},site={about.site.hook_name}:{file}"


def _spread(recording: Recording, tokens: int) -> Tensor:
    """(token, d): every n-th valid token of the recorded corpus."""
    texts = recording.texts
    there = int(recording.places.length[recording.lines_of(texts)].sum())
    step, parts, seen = max(1, -(-there // max(1, tokens))), [], 0
    for part in recording.stream(texts, Store(None)):
        x = part.x_valid
        parts.append(x[(-seen) % step :: step].float())
        seen += len(x)
    return torch.cat(parts)
