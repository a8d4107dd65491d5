"""Bounds and the one pure function that turns a measurement into a verdict."""
