"""One dictionary per worker, GPU pinning, the ledger of tests that must end in a record."""
