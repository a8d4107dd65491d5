"""Activations in, estimates out: one file per family of metrics, no pytest.

Latents(sae, store, context, progress)       # one dictionary over one model's activations
reconstruction.measure(latents, corpus, seed) -> list[Estimate]
erasure.measure_scr(latents, tasks, seed, fits) -> list[Estimate]
erasure.measure_tpp(latents, tasks, seed, fits) -> list[Estimate]
probing.measure(latents, tasks, seed) -> list[Estimate]
last_token.measure(latents, most, seed) -> list[Estimate]
absorption.measure(latents, spelling, seed, most) -> list[Estimate]
judge_calibration.measure(judge, seed) -> list[Estimate]
shift.measure(latents, tasks, judge, seed, fits) -> list[Estimate]
autointerp.measure(latents, texts, judge, seed, sizes, scorer, embedder) -> list[Estimate]
"""
