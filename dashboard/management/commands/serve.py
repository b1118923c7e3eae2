"""``manage.py serve PROCESS``: one process of ``up``, in the foreground."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from dashboard.children import berth_processes
from dashboard.environment import BASE_DIR
from dashboard.settings import ENVIRONMENT

PROCESSES = ("web", "gateway", "worker", "agent")


class Command(BaseCommand):
    help = "Run one process of 'up' in the foreground, for containers and service managers. 'install' comes first."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("process", choices=PROCESSES)

    def handle(self, *args: Any, **options: Any) -> None:
        specs = berth_processes(ENVIRONMENT, redis_url=ENVIRONMENT.redis_url, node=settings.BERTH_NODE_NAME)
        spec = next(each for each in specs if each.name == options["process"])
        os.chdir(BASE_DIR)
        # Signals and the exit status are the process's own: nothing of this one is left.
        os.execve(spec.argv[0], spec.argv, dict(spec.environment))  # noqa: S606 - a fixed argv, no shell
