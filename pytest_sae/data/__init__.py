"""Tasks and texts, and where they come from."""
