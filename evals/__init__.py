"""The suite: each metric at each setting is one test, judged by thresholds.toml."""
