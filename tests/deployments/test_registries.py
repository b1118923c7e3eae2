"""Registries: who may keep them, what is refused, and that no password comes out again anywhere."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote, quote_plus

import httpx
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries, Settings

from dashboard.moving.exporting import export_installation
from deployments.actors import Actor
from deployments.encryption.sealing import unseal
from deployments.exceptions import ConflictError, InvalidInputError, NotAllowedError
from deployments.models import AuditEntry, ImageTransfer, Registry
from deployments.registries.addresses import is_near, registry_named_by
from deployments.registries.credentials import Credentials
from deployments.registries.refusals import SENTENCES, SIGNS, TransferError, explained
from deployments.registries.stored import credentials_for
from deployments.registries.v2 import RegistryClient
from deployments.services.registries import (
    RegistryValues,
    check_registry,
    create_registry,
    delete_registry,
    save_registry,
)
from deployments.services.transfers import request_push
from tests.deployments.editing import make_config, person, signed_in
from tests.deployments.pushing import HOST, SECRET, make_delivery, make_node, make_registry

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]


@pytest.fixture(autouse=True)
def _own_keys(settings: Settings, tmp_path: Path) -> None:
    settings.BERTH_SECRETS_KEY_FILE = tmp_path / "secrets.keys"


class Scripted:
    """A registry on loopback that answers every request with a status, headers and a body of the test's."""

    def __init__(self, status: int, body: str = "", **headers: str) -> None:
        self.asked: list[tuple[str, str]] = []
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                scripted.asked.append((self.path, self.headers.get("Authorization", "")))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body.encode())

            do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"address": "http://host"}, "address"),
        ({"address": "host/path"}, "address"),
        ({"address": "plain"}, "address"),
        ({"address": "host:99999"}, "address"),
        ({"address": "user@host:1"}, "address"),
        ({"address": "8.8.8.8:5000", "insecure": True}, "insecure"),
        ({"address": "127.0.0.1:5000", "password": "x", "username": ""}, "username"),
    ],
)
def test_what_cannot_be_a_registry_is_refused_at_its_field(values: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        create_registry("house", RegistryValues(**{"username": "me", **values}), actor=HOST)  # type: ignore[arg-type]
    assert list(raised.value.fields) == [field]
    assert not Registry.objects.exists()


@pytest.mark.parametrize("name", ["", "Upper", "new", "house", "a/b"])
def test_a_name_that_is_taken_or_none_is_refused(name: str) -> None:
    make_registry()
    with pytest.raises(InvalidInputError) as raised:
        create_registry(name, RegistryValues(address="127.0.0.1:5000"), actor=HOST)
    assert list(raised.value.fields) == ["name"]


def test_a_stored_password_goes_to_no_other_address() -> None:
    make_registry(insecure=False)
    for changes in ({"address": "127.0.0.1:6000"}, {"address": "127.0.0.1:5000", "insecure": True}):
        with pytest.raises(InvalidInputError, match="Enter the password again"):
            save_registry("house", RegistryValues(username="pusher", **changes), actor=HOST)
    kept = save_registry("house", RegistryValues(address="127.0.0.1:5000", username="other"), actor=HOST)
    assert unseal(kept.secret) == SECRET
    moved = RegistryValues(address="127.0.0.1:6000", username="pusher", password="new")
    assert unseal(save_registry("house", moved, actor=HOST).secret) == "new"
    forgotten = RegistryValues(address="127.0.0.1:6000", username="pusher", password="")
    assert save_registry("house", forgotten, actor=HOST).secret == ""


def test_only_editors_and_admins_keep_registries() -> None:
    ann = Actor.person(person("ann", "operator"))
    values = RegistryValues(address="127.0.0.1:5000")
    with pytest.raises(NotAllowedError, match="editor role"):
        create_registry("house", values, actor=ann)
    make_registry()
    for act in (
        lambda: save_registry("house", values, actor=ann),
        lambda: check_registry("house", actor=ann),
        lambda: delete_registry("house", actor=ann),
    ):
        with pytest.raises(NotAllowedError):
            act()
    assert list(AuditEntry.objects.values_list("action", flat=True)) == ["registry.create"]


def test_a_registry_that_is_pushed_to_is_not_removed() -> None:
    make_registry()
    job = request_push(
        make_delivery(), node=make_node(), image="x", image_id="", registry="house", path="x", tag="1", actor=HOST
    )
    with pytest.raises(ConflictError, match="Cancel that first"):
        delete_registry("house", actor=HOST)
    ImageTransfer.objects.filter(pk=job.pk).update(state="failed")
    delete_registry("house", actor=HOST)
    job.refresh_from_db()
    assert job.registry is None
    assert job.repository == "127.0.0.1:5000/x"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("unauthorized: authentication required", "wrong_password"),
        ("Get https://x/v2/: unauthorized: incorrect username or password", "wrong_password"),
        ("no basic auth credentials", "wrong_password"),
        ("denied: Your authorization token has expired. Reauthenticate and try again.", "token_expired"),
        ("denied: requested access to the resource is denied", "no_right"),
        ("unauthorized to access repository: x, action: push: insufficient_scope", "wrong_password"),
        ("name unknown: The repository with name 'x' does not exist in the registry with id '1'", "no_repository"),
        ("unknown: project not found", "no_repository"),
        (
            "denied: adding 1.2 GiB, which when updated to 9 GiB will exceed the configured upper limit of 10.0 GiB.",
            "quota",
        ),
        (
            "tag invalid: The image tag '1' already exists in the 'x' repository, and the repository is immutable.",
            "tag_immutable",
        ),
        ("toomanyrequests: You have reached your pull rate limit", "too_many"),
        ("invalid reference format: repository name must be lowercase", "name_invalid"),
        ("http: server gave HTTP response to HTTPS client", "no_tls"),
        ("x509: certificate signed by unknown authority", "bad_certificate"),
        ("dial tcp: lookup x: no such host", "unreachable"),
        ("unexpected EOF", "broke_off"),
    ],
)
def test_each_refusal_is_a_sentence_with_a_next_step(said: str, code: str) -> None:
    error = explained(said, credentials=Credentials())
    assert error.code == code
    assert str(error).startswith(str(SENTENCES[code]))
    assert error.is_transient == (code in {"unreachable", "broke_off"})


def test_every_sign_has_a_sentence() -> None:
    assert {code for _sign, code in SIGNS} <= set(SENTENCES)


def test_a_server_that_repeats_the_password_is_not_quoted_with_it() -> None:
    credentials = Credentials(username="pusher", password=SECRET)
    basic = "cHVzaGVyOmh1bnRlcjItb2YtdGhlLXJlZ2lzdHJ5"
    told = str(explained(f"denied: {SECRET} or Basic {basic}", credentials=credentials))
    assert SECRET not in told
    assert basic not in told
    assert SECRET not in repr(credentials)


def test_credentials_go_to_no_token_server_without_tls_elsewhere() -> None:
    challenge = 'Bearer realm="http://8.8.8.8/token",service="x"'
    server = Scripted(401, WWW_Authenticate=challenge)
    client = RegistryClient(
        address=server.address, credentials=Credentials(username="me", password=SECRET), insecure=True
    )
    try:
        with pytest.raises(TransferError) as raised:
            client.check()
    finally:
        server.close()
    assert raised.value.code == "no_tls"
    assert [authorization for _path, authorization in server.asked] == [""]


class Net(httpx.BaseTransport):
    """A network whose hosts answer what the test says; ``asked`` lists where which credentials went."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        kind = request.headers.get("Authorization", "nobody").partition(" ")[0]
        url.host.encode("idna")  # as the system's look-up does with every name, and raises UnicodeError
        self.asked.append((f"{request.method} {url.scheme}://{url.netloc.decode()}{url.path}", kind))
        return self.answer(request)


ME = Credentials(username="me", password=SECRET)
BASIC = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()


def hub(realm: str, told: object = None, *, password: str = BASIC) -> Net:
    """A registry that wants a token of ``realm``, which gives ``told`` to whoever knows the password."""

    def answer(request: httpx.Request) -> httpx.Response:
        authorization = request.headers.get("Authorization", "")
        if request.url.path == "/token":
            if authorization not in ("", password):
                return httpx.Response(401, json={"details": f"incorrect username or password {SECRET}"})
            return httpx.Response(200, json={"token": "t0ken"} if told is None else told)
        if authorization == "Bearer t0ken":
            return httpx.Response(200, json={})
        challenge = f'Bearer realm="{realm}",service="registry.docker.io"'
        return httpx.Response(401, headers={"WWW-Authenticate": challenge})

    return Net(answer)


@pytest.mark.parametrize("address", ["docker.io", "index.docker.io", "registry-1.docker.io", "Docker.IO"])
def test_docker_hub_is_checked_by_a_token_of_the_host_that_it_names(address: str) -> None:
    net = hub("https://auth.docker.io/token")
    RegistryClient(address=address, credentials=ME, transport=net).check()
    assert net.asked == [
        ("GET https://registry-1.docker.io/v2/", "nobody"),
        ("GET https://auth.docker.io/token", "Basic"),
        ("GET https://registry-1.docker.io/v2/", "Bearer"),
    ]


def test_a_wrong_password_of_docker_hub_is_a_sentence_without_it() -> None:
    net = hub("https://auth.docker.io/token", password="Basic another")
    with pytest.raises(TransferError) as raised:
        RegistryClient(address="docker.io", credentials=ME, transport=net).check()
    assert raised.value.code == "wrong_password"
    assert SECRET not in str(raised.value)


def test_a_registry_of_basic_credentials_is_asked_with_them() -> None:
    """As the ones of cloud providers want it: a name of theirs, and a password that lives for hours."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers.get("Authorization") == BASIC:
            return httpx.Response(200)
        return httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="https://x.example.com/"'})

    net = Net(answer)
    RegistryClient(address="x.example.com", credentials=ME, transport=net).check()
    assert [kind for _url, kind in net.asked] == ["nobody", "Basic"]


@pytest.mark.parametrize(
    ("realm", "insecure", "code"),
    [
        ("http://auth.example.com/token", False, "no_tls"),
        ("http://127.0.0.1/token", False, "no_tls"),
        ("ftp://auth.example.com/token", False, "no_registry"),
        ("https://you@auth.example.com/token", False, "no_registry"),
        ("https:///token", False, "no_registry"),
        ("https://[/token", False, "no_registry"),
        ("", False, "no_registry"),
        # Named without TLS, so that anybody on the way may have written it.
        ("https://8.8.8.8/token", True, "far_token_server"),
        ("http://8.8.8.8/token", True, "no_tls"),
        ("http://a..b/token", True, "no_tls"),
    ],
)
def test_credentials_go_to_no_token_server_that_was_not_named_by_tls(realm: str, insecure: bool, code: str) -> None:
    net = hub(realm)
    with pytest.raises(TransferError) as raised:
        RegistryClient(address="127.0.0.1:5000", credentials=ME, insecure=insecure, transport=net).check()
    assert raised.value.code == code
    assert [kind for _url, kind in net.asked] == ["nobody"]


@pytest.mark.parametrize("host", ["a..b", f"{'a' * 64}.example.com", "xn--a.com"])
def test_a_token_server_of_a_name_that_no_host_can_have_is_unreachable(host: str) -> None:
    net = hub(f"https://{host}/token")
    with pytest.raises(TransferError) as raised:
        RegistryClient(address="registry.example.com", credentials=ME, transport=net).check()
    assert raised.value.code == "unreachable"
    assert [kind for _url, kind in net.asked] == ["nobody"]


@pytest.mark.parametrize("address", ["a..b", f"{'a' * 64}.example.com", "xn--a.com", "[::::]:5000"])
def test_a_registry_of_a_name_that_no_host_can_have_is_unreachable_and_not_near(address: str) -> None:
    create_registry("house", RegistryValues(address=address), actor=HOST)
    assert check_registry("house", actor=HOST).check_code == "unreachable"
    assert not is_near(address)


def test_a_near_registry_may_name_a_near_token_server() -> None:
    net = hub("http://127.0.0.1:5001/token")
    RegistryClient(address="127.0.0.1:5000", credentials=ME, insecure=True, transport=net).check()
    assert net.asked[1] == ("GET http://127.0.0.1:5001/token", "Basic")


@pytest.mark.parametrize(
    "told", [[], {}, "x", {"token": "two\nlines"}, {"token": "ключ"}, {"access_token": "x" * 20_000}]
)
def test_what_is_no_token_is_a_sentence(told: object) -> None:
    net = hub("https://auth.docker.io/token", told)
    with pytest.raises(TransferError) as raised:
        RegistryClient(address="docker.io", credentials=ME, transport=net).check()
    assert raised.value.code == "no_registry"
    assert len(net.asked) == 2


def test_a_token_servers_redirect_is_not_followed() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return httpx.Response(302, headers={"Location": "https://evil.example.com/"})
        return httpx.Response(401, headers={"WWW-Authenticate": 'Bearer realm="https://auth.docker.io/token"'})

    net = Net(answer)
    with pytest.raises(TransferError):
        RegistryClient(address="docker.io", credentials=ME, transport=net).check()
    assert not any("evil" in url for url, _kind in net.asked)


@pytest.mark.parametrize(
    ("image", "address"),
    [
        ("team/chat:1", "docker.io"),
        ("busybox", "docker.io"),
        ("docker.io/team/chat:1", "docker.io"),
        ("index.docker.io/team/chat@sha256:0", "docker.io"),
        ("registry-1.docker.io/team/chat", "docker.io"),
        ("Docker.IO/team/chat", "docker.io"),
        ("Registry.Example.org/team/chat", "registry.example.org"),
        ("HOST/team/chat", "host"),
        ("localhost/team/chat", "localhost"),
        ("127.0.0.1:5000/chat:1", "127.0.0.1:5000"),
        ("registry.example.org/team/chat", "registry.example.org"),
    ],
)
def test_an_image_is_pulled_with_the_password_of_the_registry_that_its_name_means(image: str, address: str) -> None:
    assert not credentials_for(image)
    values = RegistryValues(address=address.replace("docker.io", "index.docker.io"), username="me", password=SECRET)
    if "." in address or ":" in address:
        create_registry("house", values, actor=HOST)
        assert credentials_for(image).password == SECRET
    else:
        assert registry_named_by(image) == address


@pytest.mark.parametrize("spelled", ["Docker.IO", "registry-1.docker.io", "index.docker.io"])
def test_a_registry_is_known_in_every_spelling_of_its_address(spelled: str) -> None:
    create_registry("house", RegistryValues(address=spelled, username="me", password=SECRET), actor=HOST)
    assert Registry.objects.get().address == "docker.io"
    # A row that was written before its address had one spelling.
    Registry.objects.update(address=spelled)
    assert credentials_for("team/chat").password == SECRET
    kept = save_registry("house", RegistryValues(address="docker.io", username="me"), actor=HOST)
    assert unseal(kept.secret) == SECRET


@pytest.mark.parametrize("password", ['quo"te\\', "a b&c/ü", "plain"])
def test_a_password_is_hidden_in_every_spelling(password: str) -> None:
    mine = Credentials(username="me", password=password)
    basic = base64.b64encode(f"me:{password}".encode()).decode()
    for spelling in (password, basic, json.dumps(password)[1:-1], quote(password), quote_plus(password)):
        assert spelling not in mine.hide_in(f"denied: {spelling}!")


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (403, '{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}', "no_right"),
        (401, "", "wrong_password"),
        (404, "<html>nothing here</html>", "no_registry"),
        (429, "", "too_many"),
    ],
)
def test_the_check_keeps_the_registrys_answer(status: int, body: str, code: str) -> None:
    server = Scripted(status, body)
    try:
        make_registry(address=server.address)
        checked = check_registry("house", actor=HOST)
    finally:
        server.close()
    assert (checked.check_code, checked.checked_at is None) == (code, False)


def test_an_endless_answer_is_cut_off() -> None:
    server = Scripted(500, "x" * 3_000_000)
    try:
        make_registry(address=server.address)
        assert len(check_registry("house", actor=HOST).check_detail) <= 400
    finally:
        server.close()


def test_the_pages_show_a_registry_and_never_its_password(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    make_registry()
    make_registry("second")
    editor = signed_in("ed", "editor")
    editor.get(reverse("deployments:registries"))
    with django_assert_num_queries(6):
        page = editor.get(reverse("deployments:registries"))
    assert "127.0.0.1:5000" in page.content.decode()
    form = editor.get(reverse("deployments:registry_edit", args=["house"]))
    for answer in (page, form):
        assert SECRET not in answer.content.decode()
        assert Registry.objects.get(name="house").secret not in answer.content.decode()


def test_a_refused_form_comes_back_without_the_password() -> None:
    editor = signed_in("ed", "editor")
    wrong = {"name": "house", "address": "http://x", "username": "me", "password": SECRET}
    answer = editor.post(reverse("deployments:registry_new"), wrong)
    assert answer.status_code == 422
    assert "without http://" in answer.content.decode()
    assert SECRET not in answer.content.decode()


def test_an_operator_sees_the_list_and_why_not_the_forms() -> None:
    make_registry()
    operator = signed_in("ann", "operator")
    page = operator.get(reverse("deployments:registries")).content.decode()
    assert "needs the editor role" in page
    assert reverse("deployments:registry_check", args=["house"]) not in page
    for name in ("registry_edit", "registry_check", "registry_delete"):
        address = reverse(f"deployments:{name}", args=["house"])
        assert operator.post(address).status_code == 403


def test_the_password_is_in_no_row_export_admin_page_or_log(caplog: pytest.LogCaptureFixture) -> None:
    delivery = make_delivery()
    delivery.config = make_config("wanted")
    delivery.save()
    node = make_node()
    editor = signed_in("ed", "editor")
    server = Scripted(401, f"unauthorized {SECRET}")
    made = {"name": "house", "address": server.address, "username": "me", "password": SECRET, "insecure": "on"}
    try:
        assert editor.post(reverse("deployments:registry_new"), made).status_code == 303
    finally:
        server.close()
    push = {"node": node.pk, "image": "x", "registry": "house", "path": "team/x", "tag": "1"}
    assert editor.post(reverse("deployments:delivery_push", args=[delivery.pk]), push).status_code == 303

    sealed = Registry.objects.get().secret
    assert unseal(sealed) == SECRET
    said = caplog.text + _every_row(but=sealed) + _every_page(editor, delivery.pk) + _every_admin_page()
    exported = io.BytesIO()
    Registry.objects.update(check_code="")
    export_installation(exported, actor=HOST)
    for secret in (SECRET, sealed):
        assert secret not in said
        assert secret.encode() not in exported.getvalue()


def _every_row(*, but: str) -> str:
    """All that the database holds, as text, without the one column that is the encrypted secret."""
    found: list[str] = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608 - names of our own
            found.extend(json.dumps([cell for cell in row if cell != but], default=str) for row in cursor.fetchall())
    return "\n".join(found)


def _every_page(client: Client, delivery: int) -> str:
    pages = [
        reverse("deployments:registries"),
        reverse("deployments:registry_edit", args=["house"]),
        reverse("deployments:delivery_push", args=[delivery]),
        reverse("dashboard:activity"),
        reverse("dashboard:overview"),
        reverse("deployments:config", args=["wanted"]),
    ]
    return "\n".join(client.get(page).content.decode() for page in pages)


def _every_admin_page() -> str:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    found = []
    for model in (Registry, ImageTransfer, AuditEntry):
        opts = model._meta
        listed = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
        found.append(client.get(listed).content.decode())
        row = model._default_manager.first()
        if row is not None:
            one = client.get(reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[row.pk]))
            assert one.status_code == 200
            found.append(one.content.decode())
    return "\n".join(found)
