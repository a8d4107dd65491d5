"""Tests of the dictionaries: families, refusals, controls."""
