"""Where a config's arguments and its other fields do not agree. Warnings only: an engine may know better."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _

from .config_items import Problem
from .config_values import ConfigValues
from .engines import engine_named
from .engines.argument_style import option_value
from .images.settings import setting_warnings
from .models.catalogue import RuntimeName


def agreement_warnings(values: ConfigValues) -> Iterator[Problem]:
    """What is odd about valid values: each as a sentence with the field that it is about."""
    yield from _gpu_warnings(values)
    yield from _argument_warnings(values)
    if values.runtime == RuntimeName.DOCKER and not _is_pinned(values.image):
        yield Problem(
            field="image",
            message=_("The image has no fixed tag, so that a later start may run another version."),
        )
    if values.runtime == RuntimeName.PROCESS and (values.volumes or values.shared_memory or values.gpus):
        yield Problem(
            field="runtime",
            message=_("The process runtime ignores volumes, shared memory and the number of GPUs."),
        )
    for message in setting_warnings(dict(values.environment), values.engine):
        yield Problem(field="environment", message=message)


def _is_pinned(image: str) -> bool:
    name = image.rpartition("/")[2]
    return "@sha256:" in name or (":" in name and not name.endswith(":latest"))


def _gpu_warnings(values: ConfigValues) -> Iterator[Problem]:
    style = engine_named(values.engine).arguments
    parallel = style.split_over(values.arguments)
    if parallel is not None and parallel != str(max(values.gpus, 1)):
        message = _("The arguments split the model over %(parallel)s GPUs, but the config asks for %(gpus)d.")
        yield Problem(field="gpus", message=message % {"parallel": parallel, "gpus": values.gpus})
    elif parallel is None and values.gpus > 1 and style.one_gpu_by_default:
        message = _("The config asks for %(gpus)d GPUs, but no argument tells the engine to use more than one.")
        yield Problem(field="gpus", message=message % {"gpus": values.gpus})
    if values.gpus and not values.memory_gib:
        yield Problem(
            field="memory_gib",
            message=_("Without an estimate of its memory nobody can tell whether it fits."),
        )


def _argument_warnings(values: ConfigValues) -> Iterator[Problem]:
    style = engine_named(values.engine).arguments
    served = style.name_of(values.arguments)
    if served is not None and served != values.served_name:
        message = _("The arguments make the engine answer to “%(served)s”, but the served name is “%(name)s”.")
        yield Problem(field="served_name", message=message % {"served": served, "name": values.served_name})
    slots = option_value(values.arguments, style.slots)
    if slots is not None and slots != str(values.concurrent_requests):
        message = _("The arguments let the engine serve %(slots)s requests at a time, but the config says %(count)d.")
        told = {"slots": slots, "count": values.concurrent_requests}
        yield Problem(field="concurrent_requests", message=message % told)
    context = style.context_of(values.arguments, dict(values.environment))
    if context is not None and values.context_tokens is not None and context != str(values.context_tokens):
        message = _("The arguments set a context of %(argument)s tokens, but the config says %(context)d.")
        yield Problem(field="context_tokens", message=message % {"argument": context, "context": values.context_tokens})
