"""Serving a model: one HTTP server, one adapter a model, one launcher."""
