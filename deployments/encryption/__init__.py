"""Secrets that Berth must be able to read again: encrypted in the database by keys of a file outside of it."""

from .sealing import SecretUnreadableError, seal, unseal

__all__ = ["SecretUnreadableError", "seal", "unseal"]
