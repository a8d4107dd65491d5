"""The cards: what a family of metrics is called, needs, measures; how it is shown and controlled.

Imported in every pytest run, so this holds names alone. A family of another package is a card too:
`register` it in the hook `pytest_sae_families`.
"""

from __future__ import annotations

#: Modules of this package, in the order of reports.
NAMES = (
    "core",
    "scr",
    "tpp",
    "removal",
    "erasure",
    "sparse_probing",
    "last_token_probing",
    "absorption",
    "senses",
    "ravel",
    "principled",
    "unlearning",
    "structure",
    "concepts",
    "shift",
    "autointerp",
    "judge_calibration",
)
#: Those in which a judge has a say.
JUDGED = frozenset({"shift", "autointerp", "judge_calibration"})
