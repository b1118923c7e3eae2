#!/usr/bin/env python
"""Berth's command line: every page's action is a command here too."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
    os.environ.setdefault("BERTH_ROLE", "command")
    from django.core.management import ManagementUtility, get_commands
    from django.core.management.base import BaseCommand

    class CommandLine(ManagementUtility):
        """Exits with 2 for an unknown command, as for every other wrong usage."""

        def fetch_command(self, subcommand: str) -> BaseCommand:
            if subcommand not in get_commands():
                sys.stderr.write(f"There is no command “{subcommand}”. List them with: berth help\n")
                sys.exit(2)
            return super().fetch_command(subcommand)

    CommandLine(sys.argv).execute()


if __name__ == "__main__":
    main()
