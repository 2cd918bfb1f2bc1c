"""CosyVoice 2 behind the engine server: upstream's own code, mended where a profile says so."""
