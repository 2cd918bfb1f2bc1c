"""What runs around an engine: its launch, its image, its settings read back."""
