"""Activations in, estimates out: one file per family of metrics, no pytest.

Latents(sae, store, context, progress)       # one dictionary over one model's activations
reconstruction.measure(latents, corpus, seed) -> list[Estimate]
erasure.measure_scr(latents, tasks, seed, fits) -> list[Estimate]
erasure.measure_tpp(latents, tasks, seed, fits) -> list[Estimate]
"""
