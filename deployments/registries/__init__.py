"""Registries: where images are pushed to, with which name and password, and what their refusals mean."""
