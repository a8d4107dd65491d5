"""Hugging Face language models: where an SAE reads, capturing it, and splicing it back."""
