"""The tests' database, taken back as a whole after each test that commits.

`tests/conftest.py` makes it known to every test.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The schema, and what migrations wrote, for all tests of this process.

    After a test with transactions of its own Django deletes the rows of every table and makes content types,
    permissions and groups anew, some 200 statements; copying the pages back is one.
    """
    from django.db import connection
    from django.test import TransactionTestCase

    if connection.vendor != "sqlite":
        yield
        return
    with django_db_blocker.unblock():
        connection.ensure_connection()
        as_new = sqlite3.connect(":memory:", check_same_thread=False)
        connection.connection.backup(as_new)

    def take_back(_test: TransactionTestCase) -> None:
        connection.ensure_connection()
        as_new.backup(connection.connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", take_back)
        yield
    as_new.close()
