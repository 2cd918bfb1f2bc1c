"""What runs inside an engine: one HTTP server, one adapter a model; a model that needs more is a folder."""
