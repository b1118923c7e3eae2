"""Whether a requirement fits the GPUs that it names, by the same arithmetic as a config of the catalogue. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.utils.translation import gettext as _

from deployments.memory_estimate import EstimateLine, MemoryEstimate, Term, estimate_memory
from deployments.memory_shares import SHARES
from deployments.models import CatalogueModel, Config

from .quantisations import quantisation_of
from .requirement import Requirement, Task

#: Of GPUs whose engine has no share of its own: what driver and display leave.
USABLE = 0.95


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The estimate, and what an engine may use of each GPU's ``memory_gib``."""

    estimate: MemoryEstimate
    weights_gb: float
    memory_gib: float
    usable_gib: float

    @property
    def fits(self) -> bool:
        """Whether what is needed on each GPU is there."""
        return self.estimate.per_gpu_gib <= self.usable_gib


def memory_fit(requirement: Requirement, engine: str) -> Fit | None:
    """The fit of ``requirement`` with ``engine``; None without GPUs, or where the size of the weights is not known."""
    hardware = requirement.hardware
    weights_gb = quantisation_of(requirement.quantisation).weights_gb(requirement.parameters_b)
    if not hardware.count or not hardware.memory_gib or weights_gb is None:
        return None
    estimate = estimate_memory(_config_of(requirement, engine, weights_gb))
    if estimate is None:
        return None
    lines = tuple(_explained(line, requirement) for line in estimate.lines)
    estimate = replace(estimate, lines=lines)
    if requirement.task in {Task.IMAGE, Task.EMBEDDING}:
        # They keep no keys and values between requests: that these are left out is no warning.
        estimate = replace(estimate, warnings=(), complete=True)
    share = SHARES.get(engine)
    of_all = share.default if share is not None and share.of_all and share.default else USABLE
    return Fit(
        estimate=estimate,
        weights_gb=weights_gb,
        memory_gib=hardware.memory_gib,
        usable_gib=of_all * hardware.memory_gib,
    )


def _explained(line: EstimateLine, requirement: Requirement) -> EstimateLine:
    """The line with its figures traced to the requirement: there is no config and no model of the catalogue."""
    asked = _("requirement")
    if line.key == "overhead":
        return line
    if line.key != "weights":
        own = {_("config"), _("model")}
        terms = tuple(replace(term, source=asked) if term.source in own else term for term in line.terms)
        return replace(line, terms=terms)
    bits = quantisation_of(requirement.quantisation).bits or 0
    parameters_b = requirement.parameters_b or 0
    return replace(
        line,
        arithmetic=f"{parameters_b:g} × 10⁹ × {bits:g} bit / 8",
        terms=(
            Term(label=_("parameters"), value=parameters_b, unit=_("billion"), source=asked),
            Term(label=_("bits of a parameter"), value=bits, unit="", source=requirement.quantisation or _("16 bits")),
        ),
    )


def _config_of(requirement: Requirement, engine: str, weights_gb: float) -> Config:
    """A config that is never saved: the estimate reads one."""
    keeps_cache = requirement.task in {Task.TEXT, Task.MULTIMODAL}
    model = CatalogueModel(
        name=requirement.model,
        layers=requirement.layers if keeps_cache else None,
        kv_heads=requirement.kv_heads if keeps_cache else None,
        head_dimension=requirement.head_dimension if keeps_cache else None,
    )
    return Config(
        name=requirement.model,
        model=model,
        engine=engine,
        protocol="openai-text",
        gpus=requirement.hardware.count,
        weights_gb=weights_gb,
        context_tokens=requirement.targets.context_tokens,
        concurrent_requests=requirement.targets.concurrent_users or 1,
    )
