"""How much memory an engine takes, by several witnesses: /proc, NVML, torch. Only reads."""
