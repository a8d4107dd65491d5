"""One pytest run: its tests, ledger, journal, scheduler, shards and reports."""
