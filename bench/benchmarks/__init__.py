"""Measurements of Audition itself, each a command that prints JSON."""
