"""Runs one Berth process with planned kills: ``python -m tests.chaos.process worker|agent|web ARGUMENTS…``.

The role ``nursery`` forks such processes, see :mod:`tests.chaos.nursery`.
The role ``control`` takes no kills: it runs the commands of ``manage.py`` that it reads as JSON lists, one a
line, and answers each with a JSON object, which spares a test the start of a Python for each of them. It knows two
more: ``snapshot``, see :mod:`tests.chaos.snapshot`, and ``restart CONFIG``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import traceback
from typing import Any

from tests.chaos.nursery import serve


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
    import django

    django.setup()
    role, *arguments = sys.argv[1:]
    if role == "control":
        control()
    elif role == "nursery":
        serve(arguments, run)
    else:
        run(sys.argv[1:])


def run(role_and_arguments: list[str]) -> None:
    """Be a worker, an agent or a web that may kill itself."""
    from tests.chaos import killing

    role, *arguments = role_and_arguments

    if gpus := int(os.environ.get("BERTH_CHAOS_GPUS", "0")):
        from tests.chaos.gpus import stand_in

        stand_in(gpus)
    killing.plant_bug()
    killing.install()
    if role == "worker":
        from dashboard.celery import app

        app.worker_main(["worker", *arguments])
    elif role == "agent":
        from django.core.management import call_command

        call_command("agent")
    else:
        import uvicorn

        uvicorn.run("dashboard.asgi:application", host="127.0.0.1", port=int(arguments[0]), log_level="warning")


def control() -> None:
    """Run commands until standard input ends."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run_command(json.loads(line))) + "\n")
        sys.stdout.flush()


def run_command(arguments: list[str]) -> dict[str, Any]:
    """Exit status and outputs of one command."""
    from django.core.management import call_command
    from django.db import close_old_connections

    from deployments.exceptions import BerthError
    from tests.chaos.snapshot import restart, snapshot

    out, err = io.StringIO(), io.StringIO()
    status: object = 0
    try:
        if arguments[0] == "snapshot":
            json.dump(snapshot(), out)
        elif arguments[0] == "restart":
            restart(arguments[1])
        else:
            # What “shell” runs prints by itself.
            with contextlib.redirect_stdout(out):
                call_command(*arguments, stdout=out, stderr=err)
    except SystemExit as end:
        status = end.code
    except BerthError as error:
        status = 1
        err.write(str(error))
    except Exception:  # noqa: BLE001 - as a Python of its own would end
        status = 1
        err.write(traceback.format_exc())
    close_old_connections()
    return {"status": status, "out": out.getvalue(), "err": err.getvalue()}


if __name__ == "__main__":
    main()
