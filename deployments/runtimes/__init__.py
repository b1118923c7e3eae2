"""Where attempts run. One module for each runtime, one line here. Light to import: keepers load this package."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .base import Runtime


def _process() -> Runtime:
    from django.conf import settings

    from .process import ProcessRuntime

    return ProcessRuntime(settings.BERTH_DATA_DIR)


def _docker() -> Runtime:
    from django.conf import settings

    from deployments.registries.stored import credentials_for

    from .docker import DockerRuntime
    from .docker.options import Reach

    address = settings.BERTH_NODE_ADDRESS
    reach = Reach(network=settings.BERTH_MODELS_NETWORK, address=address or "127.0.0.1", published=address)
    return DockerRuntime(reach, logs=settings.BERTH_DATA_DIR / "containers", credentials_for=credentials_for)


_FACTORIES: dict[str, Callable[[], Runtime]] = {
    "docker": _docker,
    "process": _process,
}
_built: dict[str, Runtime] = {}


def runtime_names() -> tuple[str, ...]:
    """The names that :func:`runtime_named` knows."""
    return tuple(_FACTORIES)


def offered_runtimes() -> tuple[str, ...]:
    """Those that can run something on this host now. Asks each, so it may take some seconds."""
    return tuple(name for name in _FACTORIES if runtime_named(name).is_offered())


def runtime_named(name: str) -> Runtime:
    """The one runtime of that name in this process, built at its first use. Raises LaunchError for others."""
    if name not in _built:
        if name not in _FACTORIES:
            from django.utils.translation import gettext as _

            from deployments.exceptions import LaunchError

            message = _("There is no runtime %(name)s here. There is: %(names)s.")
            raise LaunchError(
                message % {"name": name, "names": ", ".join(_FACTORIES)}, code="unknown_runtime", name=name
            )
        _built[name] = _FACTORIES[name]()
    return _built[name]


def use_runtime(name: str, runtime: Runtime | None) -> None:
    """Put ``runtime`` in the seat ``name``; None gives the seat back to the factory. For tests."""
    if runtime is None:
        _built.pop(name, None)
    else:
        _built[name] = runtime
