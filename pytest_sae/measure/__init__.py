"""Activations in, estimates out: one file per family of metrics, no pytest.

Latents(sae, store, context, progress)       # one dictionary over one model's activations
core.measure(latents, corpus, seed) -> list[Estimate]
scr_and_tpp.measure_scr(latents, tasks, seed, fits) -> list[Estimate]
scr_and_tpp.measure_tpp(latents, tasks, seed, fits) -> list[Estimate]
sparse_probing.measure(latents, tasks, seed) -> list[Estimate]
last_token_probing.measure(latents, most, seed) -> list[Estimate]
absorption.measure(latents, spelling, seed, most) -> list[Estimate]
judge_calibration.measure(judge, seed) -> list[Estimate]
shift.measure(latents, tasks, judge, seed, fits) -> list[Estimate]
autointerp.measure(latents, texts, judge, seed, sizes, scorer, embedder) -> list[Estimate]
"""
