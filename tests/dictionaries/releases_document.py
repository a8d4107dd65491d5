"""The releases of other libraries whose own files are read as they compute: of docs/formats.md."""

from __future__ import annotations

import tomllib
from pathlib import Path

RELEASES = Path(__file__).parent / "releases" / "releases.toml"


def document() -> str:
    """Return the section of docs/formats.md."""
    rows = "\n".join(
        f"| {each['name']} | {each['version']} | {each['what']} |"
        for each in tomllib.loads(RELEASES.read_text())["release"]
    )
    return f"""## Releases

`.ci/peers` installs these beside torch 2.13, each in an environment of its own, has them save what
they know with their own code, and compares latents and reconstruction to 1e-5; of sae_lens also
what it reads at the site, with the weights processed as that release does by default.

| library | release | what it saves |
| --- | --- | --- |
{rows}

They are the oldest and the newest of their libraries, and those between that wrote otherwise. Not
among them: sae_lens before 1.0 saves pickles, which are never opened; overcomplete 0.0.0 and 0.0.1
have no SAE; OpenAI's sparse_autoencoder, the BatchTopK repository, switch_sae, transcoder_circuits,
the variational SAEs and SNMF are on no registry, so that tests write their files by the formulas of
their code; Gemma Scope and Qwen Scope come from no library.
"""
