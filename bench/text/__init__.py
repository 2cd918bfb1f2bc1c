"""Pure functions on written text, shared by what cuts a reference and what cuts the words to be spoken."""
