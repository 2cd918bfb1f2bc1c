"""What goes in: the reference voice and the utterances."""
