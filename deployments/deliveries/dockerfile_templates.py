"""Where a Dockerfile may begin: for each engine its project's own, its official image, or nothing.

What each image brings (where its Python is, what it runs) is kept as data with its source and date.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deployments.engines import engine_named
from deployments.models import Delivery

#: When the facts below were read, from the sources that each one names.
AS_OF = "2026-08"
HUB_TOKEN = "hf_token"  # noqa: S105 - the id of a build secret
_MOUNT = f"--mount=type=secret,id={HUB_TOKEN},required=false"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How images of one engine are made.

    ``pip`` installs Python packages in its official image, empty where that holds no Python of its own. ``argv`` is
    the command from scratch. ``project`` is the project's own Dockerfile in its repository, ``target`` its stage.
    """

    source: str
    pip: str = ""
    project: str = ""
    target: str = ""
    base: str = "python:3.12-slim-bookworm"
    scratch: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()
    is_hub: bool = True


_CUDA = "nvidia/cuda:12.8.1-devel-ubuntu24.04"
_VENV = (
    "RUN apt-get update \\",
    "    && apt-get install -y --no-install-recommends python3 python3-venv git \\",
    "    && rm -rf /var/lib/apt/lists/* \\",
    "    && python3 -m venv /opt/venv",
    "ENV PATH=/opt/venv/bin:$PATH",
)
RECIPES: dict[str, Recipe] = {
    "vllm": Recipe(
        source="vllm docs/deployment/docker.md",
        pip="uv pip install --system",
        project="docker/Dockerfile",
        target="vllm-openai",
        base=_CUDA,
        scratch=(*_VENV, "RUN pip install --no-cache-dir vllm==0.32.0"),
        argv=("vllm", "serve"),
    ),
    "lmdeploy": Recipe(
        source="lmdeploy docker/Dockerfile",
        pip="/opt/py3/bin/pip install --no-cache-dir",
        project="docker/Dockerfile",
        base=_CUDA,
        scratch=(*_VENV, "RUN pip install --no-cache-dir lmdeploy==0.16.0"),
        argv=("lmdeploy", "serve", "api_server"),
    ),
    "sglang": Recipe(
        source="sglang docs/get_started/install.md",
        pip="pip install --no-cache-dir",
        project="docker/Dockerfile",
        base=_CUDA,
        scratch=(*_VENV, 'RUN pip install --no-cache-dir "sglang[all]>=0.5"'),
        argv=("python3", "-m", "sglang.launch_server", "--host", "0.0.0.0", "--model-path"),  # noqa: S104
    ),
    "tgi": Recipe(
        source="text-generation-inference Dockerfile",
        pip="/usr/src/.venv/bin/python -m pip install --no-cache-dir",
        project="Dockerfile",
        base="ghcr.io/huggingface/text-generation-inference:3.3.5",
        scratch=("# Its router and kernels take hours to compile, so this begins from what the project publishes.",),
        argv=("text-generation-launcher", "--model-id"),
    ),
    "ollama": Recipe(
        source="ollama docs/docker.mdx, Dockerfile",
        project="Dockerfile",
        base="ubuntu:24.04",
        scratch=("COPY ollama /usr/bin/ollama",),
        argv=("ollama", "serve"),
        is_hub=False,
    ),
    "localai": Recipe(
        source="LocalAI Dockerfile, getting-started/containers.md",
        project="Dockerfile",
        base="ubuntu:24.04",
        scratch=("COPY local-ai /usr/bin/local-ai",),
        argv=("local-ai", "run"),
        is_hub=False,
    ),
    "llama.cpp": Recipe(
        source="llama.cpp docs/docker.md",
        project=".devops/cuda.Dockerfile",
        target="server",
        base=_CUDA,
        scratch=("COPY llama-server /usr/bin/llama-server",),
        argv=("llama-server", "--host", "0.0.0.0", "-m"),  # noqa: S104
        is_hub=False,
    ),
    "comfyui": Recipe(
        source="ComfyUI README.md",
        pip="pip install --no-cache-dir",
        base="pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime",
        scratch=(
            "RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*",
            "RUN git clone --depth 1 https://github.com/comfyanonymous/ComfyUI /app \\",
            "    && pip install --no-cache-dir -r /app/requirements.txt",
            "WORKDIR /app",
        ),
        argv=("python", "main.py", "--listen", "0.0.0.0"),  # noqa: S104
        is_hub=False,
    ),
    "sd-webui": Recipe(
        source="stable-diffusion-webui README.md",
        pip="pip install --no-cache-dir",
        base="pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime",
        scratch=(
            "RUN apt-get update && apt-get install -y --no-install-recommends git libgl1 \\",
            "    && rm -rf /var/lib/apt/lists/*",
            "RUN git clone --depth 1 https://github.com/AUTOMATIC1111/stable-diffusion-webui /app",
            "WORKDIR /app",
        ),
        argv=("python", "launch.py", "--listen", "--api", "--port", "7860"),
        is_hub=False,
    ),
    "custom": Recipe(
        source="no project",
        pip="pip install --no-cache-dir",
        scratch=("COPY . /app", "WORKDIR /app"),
        argv=("python", "server.py"),
        is_hub=False,
    ),
}


def template(way: str, engine: str, *, repository: str = "", revision: str = "", baked: bool = True) -> str:
    """A Dockerfile to begin with, which a person then edits. ``repository`` at ``revision`` is what is baked in."""
    recipe = RECIPES[engine]
    lines = {
        Delivery.Way.PROJECT: _project,
        Delivery.Way.OFFICIAL: _official,
        Delivery.Way.SCRATCH: _scratch,
    }[Delivery.Way(way)](engine, recipe)
    weights = list(_weights(engine, recipe, repository or "ORGANISATION/MODEL", revision or "main") if baked else ())
    return "\n".join([f"# {engine}, after {recipe.source} ({AS_OF}).", *lines, *weights, ""])


def official_image(engine: str) -> str:
    """The image that the project publishes, else what one builds on."""
    image = engine_named(engine).default_image or RECIPES[engine].base
    # A floating tag would be another image at each build.
    return image.replace("sglang:latest", "sglang:v0.5.2")


def _project(engine: str, recipe: Recipe) -> Iterator[str]:
    own = recipe.project or "Dockerfile"
    yield f"# Take the project's own Dockerfile ({own}) in place of the next line: choose a checkout of the project as"
    yield "# the build context, then “Take it from the context”. Keep the changes below at its end."
    yield f"FROM {official_image(engine)} AS {recipe.target or 'project'}"
    yield ""
    yield "# ---- Changes of this delivery ----"
    yield from _changes(recipe)


def _official(engine: str, recipe: Recipe) -> Iterator[str]:
    yield f"FROM {official_image(engine)}"
    yield ""
    yield from _changes(recipe)


def _scratch(engine: str, recipe: Recipe) -> Iterator[str]:
    yield f"FROM {recipe.base}"
    yield 'SHELL ["/bin/bash", "-o", "pipefail", "-c"]'
    yield from recipe.scratch
    yield ""
    yield f"EXPOSE {engine_named(engine).default_port}"
    if recipe.argv:
        yield f"ENTRYPOINT [{', '.join(chr(34) + part + chr(34) for part in recipe.argv)}]"


def _changes(recipe: Recipe) -> Iterator[str]:
    if recipe.pip:
        yield "# Python packages, pinned:"
        yield f"# RUN {recipe.pip} PACKAGE==VERSION"
    yield "# A patch from the build context:"
    yield "# COPY changes.patch /tmp/changes.patch"
    yield "# RUN patch -p1 -d /path/in/the/image < /tmp/changes.patch && rm /tmp/changes.patch"


def _weights(engine: str, recipe: Recipe, repository: str, revision: str) -> Iterator[str]:
    yield ""
    if engine == "ollama":
        yield "# The model, fetched while building:"
        yield "RUN ollama serve & until ollama list >/dev/null 2>&1; do sleep 1; done; \\"
        yield f"    ollama pull {repository}"
    elif recipe.is_hub:
        yield "# The weights. The token is a build secret: the step reads it, and no layer keeps it."
        yield f"RUN {_MOUNT} \\"
        yield f'    HF_TOKEN="$(cat /run/secrets/{HUB_TOKEN} 2>/dev/null || true)" \\'
        yield f"    hf download {repository} --revision {revision} --local-dir /models/model"
        yield "ENV HF_HUB_OFFLINE=1"
    elif engine in ("llama.cpp", "localai"):
        yield "# The weights, from the build context:"
        yield "# COPY model.gguf /models/model.gguf"
