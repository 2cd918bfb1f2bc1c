"""Build context of the watcher's image: `watcher.py`, on the standard library alone, and a Dockerfile."""
