"""The image that an engine runs in: its Dockerfile and the context it is built from."""
