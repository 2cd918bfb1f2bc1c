"""Build context of the test's neighbour: a container that serves the OpenAI chat API from a script."""
