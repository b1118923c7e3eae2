"""The Chinese of the pages: whole, in step with the sources, and no words that escape translation."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import polib
import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from tests.requirements import require

ROOT = Path(__file__).resolve().parent.parent
MESSAGES = Path("locale/zh_Hans/LC_MESSAGES/django.po")
COLLECTED = ["dashboard", "deployments", "playground", "templates", "locale"]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
MODULES = sorted(path for path in (ROOT / "static/js").rglob("*.js") if not path.name.endswith(".test.js"))

# What must be the same in the message and in its translation.
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%%|\{\w*\}|\$\{\w+\}|</?[a-z][^>]*>")
# Names, and units, which are the same in every language.
UNTRANSLATED = {
    "Berth",
    "Docker",
    "Dockerfile",
    "Compose",
    "JSON",
    "GB",
    "GiB",
    "B",
    "curl",
    "Python",
    "CLI",
    "MIG",
    "MHz",
    "ms",
    "W",
    "C",
}
# Nobody reads these as words of a language.
SILENT = {"script", "style", "code", "kbd"}
# Included inside a tag, it holds attributes only.
ATTRIBUTES_ONLY = {"deployments/log_words.html", "deployments/tab_link.html"}
# Attributes that people see or hear; data-text-… and their kin are words for the modules.
READ_ALOUD = re.compile(
    r"^(title|alt|placeholder|label|aria-label|aria-description|data-(text|label|help|copied)(-.*)?|data-confirm(-list|-verb)?)$"
)


@pytest.fixture(scope="module")
def messages() -> polib.POFile:
    return polib.pofile(str(ROOT / MESSAGES), check_for_duplicates=True)


def forms(entry: polib.POEntry) -> list[str]:
    """The translations of `entry`: one, also where English has two forms."""
    return list(entry.msgstr_plural.values()) if entry.msgid_plural else [entry.msgstr]


def test_every_message_is_translated(messages: polib.POFile) -> None:
    assert [entry.msgid for entry in messages if not all(text.strip() for text in forms(entry))] == []
    assert [entry.msgid for entry in messages if len(forms(entry)) != 1] == []


def test_no_translation_is_a_guess_or_left_over(messages: polib.POFile) -> None:
    assert [entry.msgid for entry in messages if entry.fuzzy or entry.obsolete] == []


def test_placeholders_and_tags_survive_the_translation(messages: polib.POFile) -> None:
    changed = [
        (entry.msgid, text)
        for entry in messages
        for text in forms(entry)
        if sorted(PLACEHOLDER.findall(entry.msgid)) != sorted(PLACEHOLDER.findall(text))
    ]
    assert changed == []


def test_a_sentence_stays_a_sentence(messages: polib.POFile) -> None:
    unfinished = [
        (entry.msgid, text)
        for entry in messages
        for text in forms(entry)
        if (entry.msgid[-1] in ".?:…") != (text[-1] in "。？：…" or text.endswith(":"))
    ]
    assert unfinished == []


def test_the_file_holds_what_the_sources_ask_for(
    messages: polib.POFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    require("gettext")
    for name in COLLECTED:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.mo"))
    (tmp_path / MESSAGES).unlink()
    settings.LOCALE_PATHS = [tmp_path / "locale"]
    monkeypatch.chdir(tmp_path)
    call_command("makemessages", locale=["zh_Hans"], no_location=True, verbosity=0)
    asked = {(entry.msgctxt, entry.msgid) for entry in polib.pofile(str(tmp_path / MESSAGES))}
    held = {(entry.msgctxt, entry.msgid) for entry in messages}
    assert asked - held == set(), "run `make messages` and translate these"
    assert held - asked == set(), "run `make messages`: nothing asks for these any more"


def test_every_call_of_gettext_goes_by_a_name_that_collecting_knows() -> None:
    aliases = [
        (str(path.relative_to(ROOT)), alias)
        for package in ("dashboard", "deployments", "playground")
        for path in sorted((ROOT / package).rglob("*.py"))
        for alias in re.findall(r"\b\w*gettext\w* as (\w+)", path.read_text())
        if alias != "_"
    ]
    assert aliases == [], "xgettext passes over messages in calls of these; import the function without a new name"


class _Words(HTMLParser):
    """Collects what a reader sees or hears of a page: its text, and the attributes in READ_ALOUD."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in SILENT
        # The example in an editor of JSON is JSON.
        silent = {"placeholder"} if ("data-json", None) in attrs else set()
        self.found += [value for name, value in attrs if value and READ_ALOUD.match(name) and name not in silent]

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in SILENT

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.found.append(data)


def untranslated(template: str) -> Iterator[str]:
    """Words that `template` shows as they stand, outside translate tags and variables."""
    source = re.sub(r"\{#.*?#\}", "", template)
    for paired in ("comment", "blocktranslate"):
        source = re.sub(rf"\{{% {paired}\b.*?%\}}.*?\{{% end{paired} %\}}", "", source, flags=re.DOTALL)
    # Classes, not text.
    source = re.sub(r"\{% block (?:main|page)_class %\}.*?\{% endblock %\}", "", source)
    for tag in re.findall(r"\{% (?:include|with|firstof) .*?%\}", source):
        yield from re.findall(r"=\"(\w+ [^\"]*)\"", tag)
    source = re.sub(r"\{%.*?%\}|\{\{.*?\}\}", "", source, flags=re.DOTALL)
    parser = _Words()
    parser.feed(source)
    for text in parser.found:
        yield from (word for word in re.findall(r"[^\W\d_]+", text) if word not in UNTRANSLATED)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_a_template_shows_no_words_outside_translate_tags(path: Path) -> None:
    source = path.read_text()
    if str(path.relative_to(ROOT / "templates")) in ATTRIBUTES_ONLY:
        source = f"<a {source}>"
    assert list(untranslated(source)) == []


def test_the_lint_of_templates_sees_text_attributes_and_sentences_handed_on() -> None:
    assert list(untranslated("<p>{% translate 'Yes' %} plain {{ name }}</p>")) == ["plain"]
    assert list(untranslated('<a title="told{% if x %} twice{% endif %}" class="btn">')) == ["told", "twice"]
    assert list(untranslated('{% include "a.html" with sentence="It broke" %}')) == ["It broke"]
    assert (
        list(untranslated("{# a #}{% blocktranslate with n=1 %}b {{ n }}{% endblocktranslate %}<script>c</script>"))
        == []
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "static/js")))
def test_a_module_has_no_sentences(path: Path) -> None:
    code = re.sub(r"/\*.*?\*/|(?<![:\"'`])//[^\n]*", "", path.read_text(), flags=re.DOTALL)
    literals = [text for pair in re.findall(r"\"([^\"\n]*)\"|`([^`]*)`", code) for text in pair]
    assert [text for text in literals if re.match(r"[A-Z][a-z]+ \w+ ?\w*", text)] == []


@pytest.fixture
def chinese(tmp_path: Path, messages: polib.POFile, settings: Settings) -> None:
    """The translations of this tree, compiled anew: those beside the source may be older or missing."""
    folder = tmp_path / MESSAGES.parent.relative_to("locale")
    folder.mkdir(parents=True)
    messages.save_as_mofile(str(folder / "django.mo"))
    settings.LOCALE_PATHS = [tmp_path]


@pytest.mark.django_db
@pytest.mark.usefixtures("chinese")
def test_a_browser_that_asks_for_chinese_gets_it(client: Client) -> None:
    page = client.get(reverse("login"), headers={"accept-language": "zh-CN,zh;q=0.9,en;q=0.5"})
    text = page.content.decode()
    assert '<html lang="zh-hans"' in text
    assert "<h1>登录 Berth</h1>" in text
    assert "Sign in" not in text


@pytest.mark.django_db
@pytest.mark.usefixtures("chinese")
def test_the_chosen_language_wins_over_the_browser(client: Client) -> None:
    client.cookies[django_settings.LANGUAGE_COOKIE_NAME] = "zh-hans"
    assert "登录" in client.get(reverse("login"), headers={"accept-language": "en"}).content.decode()
