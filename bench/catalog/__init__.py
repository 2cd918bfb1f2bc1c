"""What the project knows of each model: one YAML file a model, and the code that reads them."""
