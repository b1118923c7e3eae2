"""Ollama. Answers at once, without a model: ready means that the model is resident. It does not drain at SIGTERM."""

from __future__ import annotations

from .probes import model_in_memory
from .served import ServedEngine

ENGINE = ServedEngine(
    name="ollama",
    title="Ollama",
    default_image="ollama/ollama:0.32.15",
    default_port=11434,
    default_readiness_path="/api/version",
    protocols=("ollama-text", "openai-text"),
    grace_s=10,
    ask=model_in_memory,
)
