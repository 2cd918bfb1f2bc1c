"""Tests that keep docs/ true, and the command that makes its tables."""
