"""How an engine is told its model, the split over GPUs, the context and the served name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


def option_value(arguments: Sequence[str], options: Sequence[str]) -> str | None:
    """The value of the last of ``options`` in an argv, written ``--name value`` or ``--name=value``."""
    found = None
    for position, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if option in options:
            if equals:
                found = value
            elif position + 1 < len(arguments):
                found = arguments[position + 1]
    return found


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a new config wants to serve. ``context_tokens`` is what one request may use; None leaves it to the model."""

    model: str
    served_name: str
    gpus: int = 1
    context_tokens: int | None = None
    concurrent_requests: int = 1


@dataclass(frozen=True, kw_only=True)
class ArgumentStyle:
    """Each tuple holds the spellings of one option; the first is the one that is suggested, none means there is none.

    ``leading`` begins the argv, ``model`` empty puts the model right behind it (where ``takes_model``).
    ``slots`` is the option for requests at a time of an engine whose context is shared by all of them.
    """

    #: Whether its argv is worth a suggestion.
    is_template: bool = True
    leading: tuple[str, ...] = ()
    takes_model: bool = True
    model: tuple[str, ...] = ()
    tensor_parallel: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    context_variable: str = ""
    served_name: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    trailing: tuple[str, ...] = ()
    #: With more than one GPU and no such argument, the others stay idle.
    one_gpu_by_default: bool = False

    def argv(self, wanted: Wanted) -> tuple[str, ...]:
        """What follows the image's entry point. A split over one GPU is the default and left out."""
        argv = list(self.leading)
        if self.takes_model:
            argv += [*self.model[:1], wanted.model]
        if wanted.gpus > 1:
            argv += _option(self.tensor_parallel, wanted.gpus)
        if wanted.context_tokens is not None:
            shared = wanted.concurrent_requests if self.slots else 1
            argv += _option(self.context, wanted.context_tokens * shared)
        if wanted.concurrent_requests > 1:
            argv += _option(self.slots, wanted.concurrent_requests)
        argv += _option(self.served_name, wanted.served_name)
        return (*argv, *self.trailing)

    def environment(self, wanted: Wanted) -> dict[str, str]:
        """Variables for what the argv cannot say."""
        if self.context_variable and wanted.context_tokens is not None:
            return {self.context_variable: str(wanted.context_tokens)}
        return {}

    def split_over(self, arguments: Sequence[str]) -> str | None:
        """How many GPUs an argv splits the model over; None when it does not say."""
        return option_value(arguments, self.tensor_parallel)

    def context_of(self, arguments: Sequence[str], environment: Mapping[str, str]) -> str | None:
        """The tokens that one request may use, as argv or environment say; None when they do not."""
        told = option_value(arguments, self.context)
        if told is None:
            return environment.get(self.context_variable)
        slots = option_value(arguments, self.slots)
        if slots is not None and slots.isdecimal() and told.isdecimal() and int(slots) > 0:
            return str(int(told) // int(slots))
        return told

    def name_of(self, arguments: Sequence[str]) -> str | None:
        """The name that an argv makes the engine answer to; None when it does not say."""
        return option_value(arguments, self.served_name)


def _option(spellings: Sequence[str], value: object) -> list[str]:
    return [spellings[0], str(value)] if spellings else []
