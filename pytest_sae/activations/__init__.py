"""Texts through a model once, a dictionary over the activations once, and both cached."""
