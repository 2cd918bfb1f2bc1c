"""Bytes from outside: every parser that meets them gives what it says, or the error that it documents, and soon."""
