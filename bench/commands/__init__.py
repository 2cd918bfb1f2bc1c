"""The command `audition`: one file a command, and what commands share."""
