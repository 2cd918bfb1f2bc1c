"""Docker on this host through its Python SDK: connection, labels, images, a command in a container."""
