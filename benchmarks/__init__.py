"""Measurements of Audition itself, each a command; `make bench` runs those of the measuring instrument as one."""
