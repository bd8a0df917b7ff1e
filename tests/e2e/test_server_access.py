"""Who may use a server: keys, names, pages and certificates, over real connections."""
import json
import os
import pathlib
import socket
import ssl
import stat
import subprocess
import urllib.request

import pytest

from server import Server

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def serve(hearth, models, tmp_path):
    def start(*flags, **more):
        return Server(hearth, models("default"), "--ctx", "256", "--state-folder", tmp_path, *flags, **more)

    return start


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def locked(hearth, models, tmp_path_factory):
    """A server with a key for everything and one that is for use, two requests at a time."""
    folder = tmp_path_factory.mktemp("state")
    done = subprocess.run([hearth, "serve", "--state-folder", folder, "--new-key", "bob:use:2"], capture_output=True, text=True, check=True)
    with Server(hearth, models("default"), "--ctx", "2048", "--state-folder", folder, "--api-key", "boss", ready=False) as s:
        s.bob = done.stdout.strip()
        yield s


def test_every_path_but_the_public_ones_needs_a_key(locked):
    closed = ["/v1/models", "/props", "/slots", "/metrics", "/api/tags", "/api/ps", "/v1/responses/resp_1", "/no/such/path"]
    for path in closed:
        assert locked.get(path).status == 401, path
        assert locked.get(path, headers=bearer("wrong")).status == 401, path
    for path in ("/health", "/v1/health"):
        assert locked.get(path).status in (200, 503), path
    for path, body in (("/v1/chat/completions", {}), ("/v1/messages", {}), ("/v1/responses", {}), ("/api/chat", {}), ("/completion", {})):
        assert locked.post(path, body).status == 401, path


def test_a_refusal_has_the_shape_of_its_dialect(locked):
    assert json.loads(locked.post("/v1/chat/completions", {}).body)["error"]["type"] == "authentication_error"
    body = json.loads(locked.post("/v1/messages", {}).body)
    assert (body["type"], body["error"]["type"]) == ("error", "authentication_error")
    assert isinstance(json.loads(locked.post("/api/chat", {}).body)["error"], str)


@pytest.mark.parametrize("headers", [bearer("boss"), {"x-api-key": "boss"}, {"Authorization": "Basic eDpib3Nz"}])
def test_a_key_counts_however_it_is_carried(locked, headers):
    assert locked.get("/v1/models", headers=headers).status == 200


def test_a_key_in_the_address_does_not_count(locked):
    assert locked.get("/v1/models?key=boss&api_key=boss").status == 401


def test_a_made_key_is_kept_as_a_hash_and_is_for_use_alone(locked):
    assert locked.get("/v1/models", headers=bearer(locked.bob)).status == 200
    reply = locked.request("DELETE", "/api/delete", {"model": "x"}, headers=bearer(locked.bob))
    assert reply.status == 403
    assert locked.request("DELETE", "/api/delete", {"model": "x"}, headers=bearer("boss")).status == 404


def test_no_key_appears_in_the_log(locked):
    locked.get("/v1/models?api_key=boss", headers=bearer("boss"))
    assert not any("boss" in line or locked.bob in line for line in locked.lines)


def test_listening_to_others_needs_a_key_which_is_made_and_kept_private(hearth, models, tmp_path):
    flags = ["--ctx", "256", "--state-folder", tmp_path, "--host", "0.0.0.0"]
    with Server(hearth, models("default"), *flags, ready=False) as s:
        path = tmp_path / "api-key"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        key = path.read_text().split()[0]
        assert any(str(path) in line for line in s.lines) and not any(key in line for line in s.lines)
        assert s.get("/v1/models").status == 401
        assert s.get("/v1/models", headers=bearer(key)).status == 200
    with Server(hearth, models("default"), *flags, ready=False) as s:
        assert s.get("/v1/models", headers=bearer(key)).status == 200


def test_allowed_addresses_need_no_key(hearth, models, tmp_path):
    flags = ["--ctx", "256", "--state-folder", tmp_path, "--host", "0.0.0.0"]
    with Server(hearth, models("default"), *flags, "--allow-from", "127.0.0.0/8", ready=False) as s:
        assert s.get("/v1/models").status == 200
        assert s.request("DELETE", "/api/delete", {"model": "x"}).status == 403
    with Server(hearth, models("default"), *flags, "--allow-from", "10.0.0.0/8", ready=False) as s:
        assert s.get("/v1/models").status == 403
        assert s.get("/v1/models", headers={"X-Forwarded-For": "10.1.1.1"}).status == 403
    assert not (tmp_path / "api-key").exists()


def test_dns_rebinding_is_refused(serve):
    with serve(ready=False) as s:
        for host, status in (("localhost", 200), (f"127.0.0.1:{s.port}", 200), ("evil.example", 403), (f"localhost.evil.example:{s.port}", 403)):
            assert s.get("/v1/models", headers={"Host": host}).status == status, host
        # a page behind such a name has that name as its origin too
        assert s.get("/v1/models", headers={"Host": "evil.example", "Origin": "http://evil.example"}).status == 403


def test_pages_elsewhere_may_not_ask(serve):
    with serve("--origins", "https://chat.example", ready=False) as s:
        for origin, ok in (("http://localhost:3000", True), ("https://chat.example", True), ("https://evil.example", False), ("null", False)):
            reply = s.get("/v1/models", headers={"Origin": origin})
            assert reply.status == (200 if ok else 403), origin
            assert reply.headers["Access-Control-Allow-Origin"] == (origin if ok else None)
            asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, x-custom"}
            reply = s.request("OPTIONS", "/v1/chat/completions", headers=asked)
            assert reply.status == (200 if ok else 403), origin
            if ok:
                assert reply.headers["Access-Control-Allow-Headers"] == "authorization, x-custom"
                assert "POST" in reply.headers["Access-Control-Allow-Methods"]


def test_browsers_ask_before_they_send_a_key(locked):
    asked = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    assert locked.request("OPTIONS", "/v1/chat/completions", headers=asked).status == 200


def test_a_path_prefix_is_taken_off(serve):
    with serve("--prefix", "/ai", ready=False) as s:
        assert s.get("/ai/v1/models").status == 200
        assert s.get("/aix/v1/models").status == 404


def test_tls_with_a_certificate_of_its_own(hearth, models, tmp_path):
    with Server(hearth, models("default"), "--ctx", "256", "--state-folder", tmp_path, "--tls", ready=False) as s:
        trust = ssl.create_default_context(cafile=tmp_path / "tls-certificate.pem")
        with urllib.request.urlopen(f"https://localhost:{s.port}/v1/models", context=trust, timeout=30) as reply:
            assert json.load(reply)["object"] == "list"
        assert stat.S_IMODE((tmp_path / "tls-key.pem").stat().st_mode) == 0o600
        with pytest.raises((ssl.SSLError, OSError)):
            urllib.request.urlopen(f"https://localhost:{s.port}/", context=ssl.create_default_context(), timeout=30)


# ---- the command line


def run(hearth, *words, **env):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OLLAMA_", "LLAMA_"))}
    return subprocess.run([hearth, "serve", *map(str, words)], capture_output=True, text=True, timeout=60, env=clean | env)


def test_check_finds_what_is_wrong_and_says_so(hearth, models):
    assert run(hearth, "--check", models("default")).returncode == 0
    done = run(hearth, "--check", "/no/such/model.gguf", "--prefix", "x")
    assert done.returncode == 1 and "/no/such/model.gguf" in done.stderr and "--prefix" in done.stderr
    done = run(hearth, "--check", "--prot", "1")
    assert done.returncode == 2 and "did you mean --port?" in done.stderr
    done = run(hearth, "--check", OLLAMA_NUM_PARALLEL="many")
    assert done.returncode == 2 and "OLLAMA_NUM_PARALLEL" in done.stderr


def test_the_configuration_is_printed_with_its_sources(hearth):
    done = run(hearth, "--print-config", "--json", "--port", "7", "--api-key", "very-secret", LLAMA_ARG_CTX_SIZE="99")
    settings = json.loads(done.stdout)["settings"]
    assert settings["port"] == {"value": 7, "from": "flag --port"}
    assert settings["ctx"] == {"value": 99, "from": "variable LLAMA_ARG_CTX_SIZE"}
    assert settings["host"]["from"] == "default" and "very-secret" not in done.stdout


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
def test_a_server_reads_weights_into_memory_where_that_is_asked_for(serve, models):
    def own_bytes(*flags, **env):
        with serve(*flags, env=env) as s:
            assert s.post("/v1/completions", {"prompt": "One", "max_tokens": 1}).status == 200
            lines = pathlib.Path(f"/proc/{s.process.pid}/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))

    mapped, weights = own_bytes(), os.path.getsize(models("default"))
    assert own_bytes("--no-mmap") > mapped + 0.8 * weights
    assert own_bytes(LLAMA_ARG_NO_MMAP="1") > mapped + 0.8 * weights
    assert own_bytes("-lm", "none") > mapped + 0.8 * weights


def test_every_setting_is_in_the_documentation(hearth):
    text = (ROOT / "docs" / "serve.md").read_text()
    settings = json.loads(run(hearth, "--print-config", "--json").stdout)["settings"]
    assert [name for name in settings if f"`--{name}" not in text] == []


def test_a_host_may_be_a_name(hearth, models, tmp_path):
    with Server(hearth, models("default"), "--ctx", "256", "--state-folder", tmp_path, ready=False, env={"OLLAMA_HOST": "localhost"}) as s:
        assert s.get("/v1/models").status == 200
    done = run(hearth, models("default"), "--host", "no.such.host.invalid", "--state-folder", tmp_path, "--port", "0")
    assert done.returncode == 1 and "no.such.host.invalid" in done.stderr


def test_a_taken_port_is_named_with_who_holds_it(hearth, models):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        done = run(hearth, models("default"), "--port", s.getsockname()[1])
        assert done.returncode == 1 and str(s.getsockname()[1]) in done.stderr
        if os.path.exists("/proc/net/tcp"):
            assert str(os.getpid()) in done.stderr


def test_under_llama_servers_name_it_takes_that_command_line(hearth, models, tmp_path):
    link = tmp_path / "llama-server"
    link.symlink_to(hearth)
    done = subprocess.run([link, "-m", models("default"), "-ngl", "99", "-np", "2", "-c", "512", "--jinja", "--print-config", "--json"],
                          capture_output=True, text=True, timeout=60, check=True)
    settings = json.loads(done.stdout)
    assert settings["settings"]["port"]["value"] == 8080 and settings["settings"]["ctx"]["value"] == 256
    assert settings["notes"] == ["flag -ngl has no effect: this build computes on the CPU"]


# ---- what the server was told holds where a request says nothing


def test_settings_are_what_requests_begin_with(hearth, models, tmp_path):
    log = tmp_path / "bodies.jsonl"
    flags = ["--ctx", "1024", "--predict", "3", "--temp", "1.5", "--seed", "7", "--request-log", log, "--reasoning-format", "none",
             "--chat-template-kwargs", '{"unknown": 1}']
    with Server(hearth, models("default"), *flags, env={"HEARTH_TEST_SCRIPTS": "1"}) as s:
        def ask(headers=None, **more):
            body = {"model": "", "messages": [{"role": "user", "content": "Tell me a story."}]} | more
            return s.json("/v1/chat/completions", body, headers=headers or {})

        first = ask()
        assert first["usage"]["completion_tokens"] == 3
        assert ask()["choices"][0]["message"] == first["choices"][0]["message"]  # the same seed
        assert ask(max_tokens=5)["usage"]["completion_tokens"] == 5
        said = ask(headers={"X-Hearth-Script": "%3Cthink%3Ea%3C/think%3Eb"}, max_tokens=50)["choices"][0]["message"]
        assert said["content"] == "<think>a</think>b"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    bodies = [json.loads(json.loads(line)["body"]) for line in log.read_text().splitlines()]
    assert [b.get("max_tokens") for b in bodies] == [None, None, 5, 50]


def test_a_request_that_takes_too_long_ends(hearth, models):
    with Server(hearth, models("default"), "--ctx", "2048", "--request-timeout", "50ms") as s:
        reply = s.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "word " * 1500}], "max_tokens": 500})
        assert reply.status == 504


def test_lines_of_the_log_are_json_where_that_is_wanted(hearth, models, tmp_path):
    with Server(hearth, models("default"), "--ctx", "256", "--log-format", "json", "--log-file", tmp_path / "log") as s:
        s.get("/v1/models?api_key=secret")
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    asked = [line for line in lines if line.get("path") == "/v1/models"]
    assert len(asked) == 1 and (asked[0]["method"], asked[0]["status"], asked[0]["address"]) == ("GET", 200, "127.0.0.1")
    assert "secret" not in (tmp_path / "log").read_text()
