"""The verdict of a run, in the five places where it shows.

Exit status, report.json, JUnit file, `pytest-sae merge` and `pytest-sae compare` have to agree.
`places` reads all five, `cases` runs a row of a table; the tables are

    test_unjudged          nothing, or not all, was judged: tests, rules, baselines, modules, parts
    test_values            values and bounds that say nothing; what is absent; good SAEs
    test_worthless         random, permuted, wrong and hardly trained dictionaries
    test_merged            shards, one of which is not what it should be
    test_compared          second runs that left something out
    test_earlier_reports   an older green report, and a run that breaks off
    test_odd_values        what code may give for a number
    test_mutated_reports   reports with damaged bytes
"""
