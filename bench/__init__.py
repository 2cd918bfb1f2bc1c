"""Audition: decide whether a voice-cloning TTS model may replace the one in service."""

__version__ = "0.1.0"
