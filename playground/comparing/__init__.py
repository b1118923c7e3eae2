"""Prompt sets of comparisons as tasks of the server, and what comes of comparisons as files.

``prompts`` a text becomes prompts · ``storing`` a batch's row · ``batches`` the tasks of a process · ``exporting``
"""
