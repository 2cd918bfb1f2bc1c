"""Audition: decide whether a voice-cloning TTS model may replace the one in service."""
