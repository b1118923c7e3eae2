"""What Raw offers: each config with its addresses, those that are ready first. Two queries."""

from __future__ import annotations

import json
from dataclasses import dataclass

from deployments.models import Config
from deployments.selectors import ready_endpoints

from .answers.plan import make_plan
from .gateway.endpoints import ENDPOINTS, TGI_PREFIX
from .models import Answer
from .raw.addresses import FILE_FIELDS, Kind, read_paths
from .raw.examples import example_body
from .services.ownership import no_such_message


@dataclass(frozen=True, kw_only=True)
class RawAddress:
    """A path of the gateway, how it is asked, a body to begin with, and the fields that are files."""

    path: str
    kind: Kind
    example: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RawTarget:
    """A config and where it may be asked. One that is not ready is answered by the gateway's own refusal."""

    config: str
    model: str
    is_ready: bool
    addresses: tuple[RawAddress, ...]


@dataclass(frozen=True, kw_only=True)
class WantedRequest:
    """What the page begins with, as far as it is known; ``body`` is JSON to be read."""

    config: str = ""
    path: str = ""
    body: str = ""


def request_of_answer(answer_id: int, user_id: int) -> WantedRequest:
    """What an answer of this person was asked with. Raises NotFoundError, for anybody else's too."""
    answer = Answer.objects.filter(pk=answer_id, message__conversation__owner_id=user_id).first()
    if answer is None:
        raise no_such_message()
    plan = make_plan(answer.pk)
    return WantedRequest(config=answer.config, path=plan.path, body=json.dumps(plan.body, indent=2, ensure_ascii=False))


def raw_targets() -> list[RawTarget]:
    """Every config that is not removed and that something serves."""
    ready = {endpoint.config for endpoint in ready_endpoints()}
    rows = Config.objects.filter(archived_at=None).values_list("name", "model__name", "protocol", "engine")
    targets = [
        RawTarget(config=name, model=model, is_ready=name in ready, addresses=_addresses(name, protocol, engine))
        for name, model, protocol, engine in rows
    ]
    return sorted((each for each in targets if each.addresses), key=lambda each: (not each.is_ready, each.config))


def _addresses(config: str, protocol: str, engine: str) -> tuple[RawAddress, ...]:
    served = [endpoint for endpoint in ENDPOINTS if (protocol, engine) in endpoint.served_by]
    asked = tuple(
        RawAddress(
            path=endpoint.path
            if endpoint.names_model
            else endpoint.path.replace(f"{TGI_PREFIX}CONFIG", TGI_PREFIX + config),
            kind="json" if endpoint.body == "json" else "form",
            example=example_body(endpoint.path, config),
            files=FILE_FIELDS.get(endpoint.path, ()),
        )
        for endpoint in served
    )
    if not asked:
        return ()
    return (*asked, *(RawAddress(path=path, kind="get", example="") for path in read_paths(config, protocol)))
