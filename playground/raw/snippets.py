"""A request in the words of other tools. The key is a placeholder; the gateway's address is this installation's."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .libraries import ollama_code, openai_code
from .request import Asked
from .writing import PLACEHOLDER, as_json, as_python, gateway_address, indented

_AUTHORIZATION: Final = f"Bearer {PLACEHOLDER}"


@dataclass(frozen=True, kw_only=True)
class Code:
    """A request in one tool's words."""

    key: str
    title: str
    text: str


def code_for(asked: Asked) -> list[Code]:
    """The same request with every tool that can send it."""
    writers: tuple[tuple[str, str, Callable[[Asked], str | None]], ...] = (
        ("curl", "curl", _curl),
        ("openai", "Python · openai", openai_code),
        ("ollama", "Python · ollama", ollama_code),
        ("httpx", "Python · httpx", _httpx),
        ("javascript", "JavaScript", _javascript),
    )
    written = ((key, title, write(asked)) for key, title, write in writers)
    return [Code(key=key, title=title, text=text) for key, title, text in written if text is not None]


def _curl(asked: Asked) -> str:
    lines = [f"curl -N {shlex.quote(gateway_address(asked.path))}", f'-H "Authorization: {_AUTHORIZATION}"']
    if asked.kind == "json":
        lines += ['-H "Content-Type: application/json"', f"-d {shlex.quote(as_json(asked.body))}"]
    if asked.kind == "form":
        # Of a plain -F a value that begins with @ or < would be read as a file.
        lines += [
            f"--form-string {shlex.quote(f'{name}={text}')}" for name, texts in asked.form.items() for text in texts
        ]
        lines += [f"-F {shlex.quote(f'{name}=@{_quoted(file)}')}" for name, file in asked.files.items()]
    return " \\\n  ".join(lines) + "\n"


def _quoted(file: str) -> str:
    """A name in which curl finds no ``;type=`` and no second file: https://curl.se/docs/manpage.html#-F"""
    escaped = file.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _httpx(asked: Asked) -> str:
    lines = ["import httpx\n\n", f"headers = {{'Authorization': '{_AUTHORIZATION}'}}\n"]
    given = ""
    if asked.kind == "json":
        lines.append(f"body = {as_python(dict(asked.body), 7)}\n")
        given = "json=body, "
    if asked.kind == "form":
        files = ", ".join(f"{name!r}: open({file!r}, 'rb')" for name, file in asked.files.items())
        lines += [f"form = {as_python(asked.form, 7)}\n", f"files = {{{files}}}\n"]
        given = "data=form, files=files, "
    url = gateway_address(asked.path)
    return "".join(lines) + (
        f"with httpx.stream({asked.method!r}, {url!r}, {given}headers=headers, timeout=600) as answer:\n"
        "    for text in answer.iter_text():\n"
        "        print(text, end='', flush=True)\n"
    )


def _javascript(asked: Asked) -> str:
    before, headers, more = "", f'Authorization: "{_AUTHORIZATION}"', ""
    if asked.kind == "json":
        headers += ', "Content-Type": "application/json"'
        more = f"  body: JSON.stringify({indented(as_json(asked.body), 2)}),\n"
    if asked.kind == "form":
        before, more = _javascript_form(asked), "  body: form,\n"
    method = '  method: "POST",\n' if asked.method == "POST" else ""
    return (
        f"{before}const answer = await fetch({json.dumps(gateway_address(asked.path))}, {{\n"
        f"{method}  headers: {{ {headers} }},\n{more}}});\n"
        "const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();\n"
        "for (let part = await reader.read(); !part.done; part = await reader.read()) console.log(part.value);\n"
    )


def _javascript_form(asked: Asked) -> str:
    """As Node has it; in a page a file comes from a field: https://nodejs.org/api/fs.html#fsopenasblobpath-options"""
    lines = ['import { openAsBlob } from "node:fs";\n\n', "const form = new FormData();\n"]
    lines += [
        f"form.append({json.dumps(name)}, {json.dumps(text)});\n"
        for name, texts in asked.form.items()
        for text in texts
    ]
    for name, file in asked.files.items():
        lines.append(f"form.append({json.dumps(name)}, await openAsBlob({json.dumps(file)}), {json.dumps(file)});\n")
    return "".join(lines)
