"""Moves an installation's catalogue, people and history to another one, through one file."""
