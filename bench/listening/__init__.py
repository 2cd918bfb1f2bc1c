"""The blind listening test: trials, server, store, page."""
