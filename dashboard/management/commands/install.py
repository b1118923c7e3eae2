"""``manage.py install``: schema, catalogue and first admin, without starting anything."""

from __future__ import annotations

from typing import Any

from dashboard import installing
from dashboard.settings import ENVIRONMENT
from deployments.commands import BerthCommand


class Command(BerthCommand):
    help = "Migrate the database, load the catalogue and make the first admin. Repeatable; 'up' does it too."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write("\n".join(installing.install(ENVIRONMENT.admin_password)))
