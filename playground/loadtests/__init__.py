"""Load tests: how fast a model answers one user, two, four and so on, and what becomes of it when there are many.

Pure parts (settings, prompts, figures, verdicts) know nothing of HTTP or of rows; :mod:`.ramp` drives them against a
:class:`.target.Target`; :mod:`.thread` keeps all of that off the thread which reports, looks for a cancel and writes.
"""
