"""What the project knows of each model: one YAML file a model, and the code that reads them."""

from bench.catalog.entry import Entry
from bench.catalog.loader import available, load

__all__ = ["Entry", "available", "load"]
