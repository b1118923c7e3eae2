"""What the editor's tests share: people with a role, a valid config, a run of it, files of a catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from deployments.actors import Actor
from deployments.config_checks import check_values
from deployments.config_values import ConfigValues
from deployments.lifecycle.phases import Phase
from deployments.models import CatalogueModel, Config, Deployment
from deployments.roles import make_groups
from deployments.services.catalogue import create_config

VALID: dict[str, Any] = {
    "model": "Llama3-8B",
    "protocol": "openai-text",
    "engine": "vllm",
    "image": "vllm/vllm-openai:v0.32.0",
    "served_name": "llama3-8b",
    "arguments": ["meta-llama/Meta-Llama-3-8B-Instruct", "--max-model-len", "8192"],
    "environment": {"HF_TOKEN": "${HF_TOKEN}"},
    "volumes": ["hf-cache:/root/.cache/huggingface"],
    "port": 8000,
    "readiness_path": "/health",
    "gpus": 1,
    "memory_gib": 19,
}


def person(name: str, role: str) -> User:
    """A person in the group of that role."""
    make_groups()
    user, _created = User.objects.get_or_create(username=name)
    user.groups.set([Group.objects.get(name=role)])
    return user


def signed_in(name: str, role: str) -> Client:
    """A browser in which a person of that role is signed in."""
    client = Client()
    client.force_login(person(name, role))
    return client


def values(**changes: Any) -> ConfigValues:
    """Checked values of a small config, with some changed."""
    return check_values({**VALID, **changes}, models={VALID["model"], changes.get("model", "")}).accepted()


def make_config(name: str = "llama3-8b", **changes: Any) -> Config:
    """A config in the database at revision 1, with its model."""
    wanted = values(**changes)
    CatalogueModel.objects.get_or_create(name=wanted.model)
    return create_config(name, wanted, actor=Actor(name="ops1", via="cli")).config


def make_run(config: Config, phase: Phase = Phase.READY, **columns: Any) -> Deployment:
    """A run of ``config`` as it is now, in ``phase``."""
    spec = config.serving_spec()
    return Deployment.objects.create(
        config=config,
        spec=spec.to_json(),
        spec_digest=spec.digest,
        revision=config.revision,
        started_by="ops1",
        phase=phase,
        phase_since=timezone.now(),
        **columns,
    )


def typed(**changes: Any) -> dict[str, Any]:
    """What a browser posts for the small config, with some fields typed differently."""
    lines = {key: "\r\n".join(VALID[key]) for key in ("arguments", "volumes")}
    environment = "\r\n".join(f"{name}={value}" for name, value in VALID["environment"].items())
    defaults = {
        "runtime": "docker",
        "load_timeout_s": "900",
        "grace_s": "20",
        "max_attempts": "3",
        "concurrent_requests": "1",
    }
    return {**VALID, **lines, "environment": environment, **defaults, **changes}


def write_catalogue(folder: Path, text: str, name: str = "own.yaml") -> Path:
    """A catalogue file in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path
