"""First contact with an SAE: what was understood of it, and what is wrong where something smells.

`figures`, `weights`, `readings` and `suspicion` are pure: arrays in, findings out. `elsewhere` and
`stored` make what is tried from a model and from the SAE's files, `examine` does it all in order,
`understood` and `screen` tell it.
"""
