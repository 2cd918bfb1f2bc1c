"""Borrowing a GPU host safely: Docker, the neighbour, the lease, memory."""
