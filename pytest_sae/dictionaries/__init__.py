"""Sparse dictionaries: what they are (`base`), how files become one, one file per family."""
