"""Images as people ask for them here: ``settings`` what may be set, ``engines`` who can do what, ``drawn`` what came,
``metadata`` how a downloaded one tells how it was made.
"""
