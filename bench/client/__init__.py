"""Talking to an engine and measuring it."""
