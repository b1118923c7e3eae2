"""Celery tasks of the gateway's usage, the playground's answers and load tests."""

from __future__ import annotations

import logging

from celery import shared_task

from deployments.jobs import carry_out
from deployments.redis import RedisError

from .answers.storing import interrupt_dead_answers
from .comparing.storing import interrupt_dead_batches
from .deliveries.work import end_left_tests, end_what_it_began, run_image_test
from .loadtests.work import run_load_test
from .models import ImageTest, LoadTest
from .services.pictures import drop_unsent_pictures
from .services.usage import delete_old_usage, roll_up

logger = logging.getLogger(__name__)


@shared_task(name="playground.tasks.roll_up_usage")
def roll_up_usage() -> None:
    """Add what gateways served to the roll-ups. Repeatable."""
    try:
        roll_up()
    except RedisError as error:
        logger.warning("Usage waits for Redis: %s", error)


@shared_task(name="playground.tasks.delete_old_usage")
def delete_usage() -> None:
    """Delete usage that is older than it is kept. Repeatable."""
    delete_old_usage()


@shared_task(name="playground.tasks.end_dead_answers")
def end_dead_answers() -> None:
    """Mark answers and batches whose task died with its process as interrupted. Repeatable."""
    interrupt_dead_answers()
    interrupt_dead_batches()


@shared_task(name="playground.tasks.end_left_tests")
def stop_left_tests() -> None:
    """Stop what tests of images began that nobody carries out any more. Repeatable."""
    end_left_tests()


@shared_task(name="playground.tasks.drop_unsent_pictures")
def drop_pictures() -> None:
    """Delete pictures that were added to a message and never sent. Repeatable."""
    drop_unsent_pictures()


@shared_task(name=LoadTest.TASK)
def load_test(test_id: int) -> None:
    """Run one load test on this node."""
    carry_out(LoadTest, test_id, run_load_test)


@shared_task(name=ImageTest.TASK)
def image_test(test_id: int) -> None:
    """Test one image on this node."""
    carry_out(ImageTest, test_id, run_image_test, clear=end_what_it_began)
