"""One judged measurement on its way: the row, the schema of reports, the words for verdicts."""
