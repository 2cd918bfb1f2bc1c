"""The install phase on a host: a model's weights, its venv or image, one smoke sentence, a receipt."""
