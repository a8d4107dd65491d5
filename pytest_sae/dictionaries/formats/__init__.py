"""The formats of sparse dictionaries: one file per format, found by `registry`."""
