"""Machines for tests: a Docker engine, a base image, hosts made of containers."""
