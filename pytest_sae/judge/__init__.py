"""Asking a judge about latents: prompts, the client, recordings, a rule-based stand-in."""
