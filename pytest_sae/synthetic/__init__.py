"""Worlds and dictionaries whose truth is known, for tests, audits and notebooks."""
