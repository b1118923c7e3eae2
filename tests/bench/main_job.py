"""From Start to the first token, over the bare server's own way to it."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from .installation import Installation

CONFIG = "smollm2-135m"
QUESTION = {
    "model": CONFIG,
    "messages": [{"role": "user", "content": "Say hello."}],
    "stream": True,
    "max_tokens": 16,
}


@dataclass(frozen=True, kw_only=True)
class FirstToken:
    """Medians in seconds: of the bare server, and of Berth from the start command's request on."""

    bare_s: float
    berth_s: float


def first_token_figures(installation: Installation, *, rounds: int) -> FirstToken:
    """Both ways, interleaved; the weights are fetched before."""
    installation.manage("start", CONFIG, "--wait")
    installation.manage("stop", CONFIG, "--wait")
    with httpx.Client(timeout=60) as client:
        browser = SignedIn(installation, client)
        key = installation.manage("key", "create", "bench").strip()
        gateway = f"http://127.0.0.1:{installation.port + 1}"
        bare, berth = [], []
        for _ in range(rounds):
            bare.append(_bare(installation, client))
            began = time.monotonic()
            browser.post(f"/catalogue/{CONFIG}/start/")
            _until_first_token(client, gateway, {"Authorization": f"Bearer {key}"})
            berth.append(time.monotonic() - began)
            installation.manage("stop", CONFIG, "--wait")
    return FirstToken(bare_s=statistics.median(bare), berth_s=statistics.median(berth))


def _bare(installation: Installation, client: httpx.Client) -> float:
    server = installation.home / "deployments" / "runtimes" / "llama_server.py"
    bundle = next(iter((installation.home / "data" / "bundles").glob("smollm2-135m-*")))
    weights = next(iter(bundle.rglob("*.gguf")))
    port = installation.port + 7
    argv = [sys.executable, str(server), str(bundle), "-m", str(weights), "--port", str(port), "-c", "4096", "-np", "2"]
    began = time.monotonic()
    process = subprocess.Popen(
        [*argv, "--host", "127.0.0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=Path("/")
    )
    try:
        _until_first_token(client, f"http://127.0.0.1:{port}", {})
        return time.monotonic() - began
    finally:
        process.terminate()
        process.wait(20)


def _until_first_token(client: httpx.Client, url: str, headers: dict[str, str]) -> None:
    """Ask every 20 ms until a stream begins, and read its first chunk with text."""
    ends_at = time.monotonic() + 60
    while time.monotonic() < ends_at:
        try:
            with client.stream("POST", f"{url}/v1/chat/completions", json=QUESTION, headers=headers) as answer:
                if answer.status_code == httpx.codes.OK:
                    for line in answer.iter_lines():
                        if line.startswith("data: {") and '"content":"' in line.replace(" ", ""):
                            return
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise RuntimeError("no token within 60 s")


class SignedIn:
    """A browser's requests: session, CSRF token, Origin."""

    def __init__(self, installation: Installation, client: httpx.Client) -> None:
        from .installation import ADMIN_PASSWORD

        self.url, self.client = installation.url, client
        client.get(f"{self.url}/accounts/login/").raise_for_status()
        self.post("/accounts/login/", username="admin", password=ADMIN_PASSWORD)

    def post(self, path: str, **fields: str) -> None:
        token = self.client.cookies["csrftoken"]
        answer = self.client.post(
            self.url + path, data=fields, headers={"X-CSRFToken": token, "Origin": self.url, "Referer": self.url}
        )
        if answer.is_error:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:300]}")

    def get_ms(self, path: str) -> float:
        """Wall time of one page, in milliseconds."""
        began = time.perf_counter()
        self.client.get(self.url + path).raise_for_status()
        return (time.perf_counter() - began) * 1000
