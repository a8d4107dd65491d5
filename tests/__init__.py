"""Tests of pytest-sae."""
