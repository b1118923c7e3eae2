"""Ollama's API: passed through to Ollama deployments, translated for deployments that speak OpenAI's chat.

The wire format follows Ollama's docs/api.md and api/types.go of the version in :data:`.listing.VERSION`.
"""
