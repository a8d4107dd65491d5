"""Tests of tasks and texts."""
