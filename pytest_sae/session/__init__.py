"""One process without pytest: loaded SAEs, controls, judges, repeats, suites."""
