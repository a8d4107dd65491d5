"""What must hold of controls, by what a metric reads; cards choose among these."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_sae.numbers.control import Expected

#: Of what is decoded.
DECODED: Mapping[str, Expected] = {
    "random": "below",
    "permuted_decoder": "below",
    "best_k": "below",
    "random_tied": "reference",
    "pca": "reference",
    "identity": "reference",
}
#: How sparse a dictionary is says nothing about how good it is: random weights have no dead latent.
CODES: Mapping[str, Expected] = {"random": "reference", "permuted_decoder": "same"}
#: Rows that are tied write where they read, and take away what they find: close to a trained SAE.
ERASED: Mapping[str, Expected] = {
    "random": "below",
    "permuted_decoder": "below",
    "random_tied": "reference",
    "shuffled_labels": "chance",
    "word_deletion": "reference",
}
#: What latents tell does not depend on what they write.
READ: Mapping[str, Expected] = {"random": "reference", "permuted_decoder": "same"}

#: Dictionaries that are worse by make.
WORSE = ("random", "permuted_decoder")
#: A sixth draw, taken for an SAE, is 3 standard errors above five in 3 of 100 cases.
DRAWS = 5
