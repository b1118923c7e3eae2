"""Secrets that Berth must be able to read again: encrypted in the database by keys of a file outside of it.

The library that encrypts takes 7 MB of each process that loads it, and most processes only load the models.
"""
