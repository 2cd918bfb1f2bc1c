"""Weights on a host: fetched from a hub, pinned by revision, verified, kept in one store."""
