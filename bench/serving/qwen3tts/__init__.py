"""Qwen3-TTS behind the engine server: upstream's own package, in CUDA graphs where a profile says so."""
