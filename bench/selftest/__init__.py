"""`audition selftest`: does the measuring client say what really happened?

A scripted instrument (its own process, raw sockets, its own stamps) plays every dialect and every fault; the
client measures; this package compares. Expected times come from the instrument's stamps, expected stalls and
counts from arithmetic written by hand in `cases.py`.

Nothing is imported here: the instrument is in this package too, and must not have the client in its process.
"""
