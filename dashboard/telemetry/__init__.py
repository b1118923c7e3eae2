"""What the GPUs of this node are and hold: measured through NVML, or replayed from a recording."""
