"""Is a judge fit to judge? Latents that follow known rules, and what a good judge says of them.

After FIND (Schwettmann et al. 2023, arXiv 2309.03886): known functions, known descriptions and
known corruptions of them.
"""
