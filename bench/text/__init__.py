"""Pure functions on written text: what is cut for a reference or to be spoken, and what others wrote."""
