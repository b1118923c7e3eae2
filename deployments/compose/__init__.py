"""Docker Compose files: read with bounds into proposed values of a config, and written from a config.

Reading touches no database, no environment and no file: what a file says, what the person gave as variables and what
the catalogue knows come in, a :class:`~deployments.compose.proposal.Proposal` comes out. Nothing is saved here.
"""
