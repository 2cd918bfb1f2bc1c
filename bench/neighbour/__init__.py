"""The service that lives on the GPU host and must survive: borrowing its place, the watcher, the proof."""
