"""Install hash-pinned requirements, with uv when it can be had and with pip otherwise.

    python scripts/install_locked.py [--exact | --target FOLDER] LOCK

Run it with the Python of the environment that is to be filled; that environment needs no pip of its own.
Only the standard library is used. uv takes a second where pip takes twenty; it reads none of pip's
configuration, so what this machine tells pip (mirrors, certificates) is handed on. Where uv cannot be had or
fails, pip does the same work. Safe to repeat.
"""

import argparse
import ast
import ensurepip
import os
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements"

# pip's option -> the variable in which uv takes the same.
UV_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
}


def pip_command() -> list[str]:
    """The pip that Python itself carries: run from its wheel, it saves the three seconds of installing it."""
    folders = [Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels")]
    wheels = sorted(wheel for folder in folders for wheel in folder.glob("pip-*.whl"))
    if wheels:
        return [sys.executable, f"{wheels[0]}/pip"]
    subprocess.run([sys.executable, "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL)
    return [sys.executable, "-m", "pip"]


def uv_environment(pip: list[str]) -> dict[str, str]:
    """The environment with pip's configuration translated for uv; what uv is told already stays."""
    environment = {"UV_SYSTEM_CERTS": "1", **os.environ}
    listing = subprocess.run([*pip, "config", "list"], check=True, capture_output=True, text=True).stdout
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        option = key.removeprefix(":env:").rpartition(".")[2]
        if option in UV_VARIABLES:
            words = str(ast.literal_eval(value)).split()
            if option == "find-links":
                words = [word for word in words if "://" in word or Path(word).exists()]
            if words:
                environment.setdefault(UV_VARIABLES[option], " ".join(words))
    return environment


def uv_command(pip: list[str]) -> list[str] | None:
    """The path of uv in this environment, installed first if need be; None where it has no wheel."""
    uv = Path(sys.executable).parent / "uv"
    if not uv.exists():
        options = ["--quiet", "--only-binary", ":all:", "--require-hashes"]
        subprocess.run([*pip, "install", *options, "-r", str(REQUIREMENTS / "uv.lock")], check=False)
    return [str(uv)] if uv.exists() else None


def install(lock: Path, *, exact: bool, target: Path | None) -> int:
    """Install `lock`; `exact` also removes what it does not name. Returns the exit status."""
    pip = pip_command()
    options = ["--quiet", "--require-hashes", *(["--target", str(target)] if target else [])]
    uv = uv_command(pip)
    if uv is not None:
        verb = ["sync"] if exact else ["install", "-r"]
        # Compiled now, as pip does: where PYTHONDONTWRITEBYTECODE is set, each start would compile anew for seconds.
        command = [*uv, "pip", *verb, str(lock), "--python", sys.executable, "--compile-bytecode", *options]
        if subprocess.run(command, check=False, env=uv_environment(pip)).returncode == 0:
            return 0
        print("uv could not install the packages; trying again with pip.", file=sys.stderr)
    command = [*pip, "install", "-r", str(lock), *options]
    return subprocess.run(command, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description="Install hash-pinned requirements.")
    parser.add_argument("lock", type=Path)
    parser.add_argument("--exact", action="store_true", help="also remove what the lock does not name")
    parser.add_argument("--target", type=Path, help="install into this folder")
    arguments = parser.parse_args()
    return install(arguments.lock, exact=arguments.exact, target=arguments.target)


if __name__ == "__main__":
    sys.exit(main())
