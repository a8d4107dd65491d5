"""Dictionaries on the Hugging Face hub, pinned to a commit."""
