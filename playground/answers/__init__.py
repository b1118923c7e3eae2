"""Answers as tasks of the server: each is a client of the gateway, and goes on when its page closes.

``plan`` what is asked · ``progress`` what came of it, pure · ``journal`` tells readers and keeps it · ``making`` one
task · ``runner`` the tasks of a process · ``following`` what a reader sees · ``dead`` answers whose task died.
"""
