"""``manage.py agent``: the agent of this node, until SIGTERM."""

from __future__ import annotations

import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from dashboard.agent import Agent, SecondNodeError, refuse_second_node
from dashboard.telemetry.poller import GpuPoller


class Command(BaseCommand):
    help = "Report this node's state, ship the logs of its runs and wake its worker, until SIGTERM."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            refuse_second_node(settings.BERTH_NODE_NAME)
        except SecondNodeError as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used ({str(error).strip()}).") from None
        agent = Agent(settings.BERTH_NODE_NAME)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: agent.stop())
        gpus = GpuPoller(settings.BERTH_NODE_NAME)
        gpus.start()
        agent.listen()
        try:
            agent.run()
        finally:
            gpus.stop()
