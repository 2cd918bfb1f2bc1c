"""F5-TTS behind the engine's API (docs/RESEARCH-F5-TTS.md)."""
