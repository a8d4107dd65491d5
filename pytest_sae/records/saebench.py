"""Which figures of SAEBench's result files are canonical values here, and under which key."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_sae.numbers.keys import metric_key

_ABLATED = (2, 5, 10, 20, 50, 100, 500)
_READ = (1, 2, 5, 10, 20, 50, 100)
_LAST = "sparse_probing.last_token.canonical"


@dataclass(frozen=True)
class Figure:
    """A figure of a result file.

    Args:
        evaluation: the file's `eval_type_id`.
        category: under which it stands in `eval_result_metrics`.
        name: of the figure there.
        metric: what it is here.
        params: at which setting.
    """

    evaluation: str
    category: str
    name: str
    metric: str
    params: tuple[tuple[str, int], ...] = ()

    @property
    def key(self) -> str:
        """Metric and setting as one word."""
        return metric_key(self.metric, dict(self.params))


#: All of them. Of `core` its L0 and cosine alone: explained variance, errors and cross-entropies
#: are of another definition there.
FIGURES = (
    *(
        Figure("scr", "scr_metrics", f"scr_metric_threshold_{n}", "scr.canonical", (("n", n),))
        for n in _ABLATED
    ),
    *(
        Figure("tpp", "tpp_metrics", f"tpp_threshold_{n}_total_metric", "tpp.canonical",
               (("n", n),))
        for n in _ABLATED
    ),
    *(
        Figure("sparse_probing", "sae", f"sae_top_{k}_test_accuracy", "sparse_probing.canonical",
               (("k", k),))
        for k in _READ
    ),
    *(
        Figure("sparse_probing_sae_probes", "sae", f"sae_top_{k}_test_{what}", f"{_LAST}.{what}",
               (("k", k),))
        for what in ("auc", "accuracy", "f1")
        for k in _READ
    ),
    Figure("absorption_first_letter", "mean", "mean_absorption_fraction_score",
           "absorption.canonical"),
    Figure("absorption_first_letter", "mean", "mean_full_absorption_score",
           "absorption.canonical.full"),
    Figure("core", "sparsity", "l0", "l0"),
    Figure("core", "reconstruction_quality", "cossim", "cosine"),
)  # fmt: skip
