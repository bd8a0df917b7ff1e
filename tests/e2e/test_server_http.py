"""The HTTP edge of hearth serve, with sockets: what is broken, too large, too slow, or gone."""
import gzip
import json
import signal
import socket
import struct
import threading
import time
import zlib

import pytest

from server import LONG, Server, at_work, post, start_chat

CHAT = "/v1/chat/completions"
HELLO = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2, "temperature": 0}


@pytest.fixture(scope="module")
def server(hearth, models):
    with Server(hearth, models("default"), "--ctx", "4096") as s:
        yield s


def head(reply):
    return reply.split(b"\r\n\r\n")[0].decode("latin-1")


def status(reply):
    return int(reply.split(b" ")[1]) if reply.startswith(b"HTTP/1.1 ") else None


def error_of(reply):
    return json.loads(reply.body)["error"]


# ---- well-formed, in all its ways


def test_a_connection_carries_many_requests(server):
    with server.connect() as s:
        for _ in range(3):
            s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b'{"status":"ok"}' in s.recv(4096)


def test_requests_that_come_at_once_are_answered_in_order(server):
    body = json.dumps(HELLO).encode()
    got = server.raw(
        post(CHAT, body) + b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n" + b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    assert got.count(b"HTTP/1.1 200") == 3
    assert got.index(b"chat.completion") < got.index(b'"object":"list"') < got.index(b'{"status":"ok"}')


def test_http_1_0_gets_its_answer_and_the_end_of_the_connection(server):
    body = json.dumps(HELLO | {"stream": True}).encode()
    got = server.raw(post(CHAT, body, version="1.0"))
    assert "chunked" not in head(got) and got.endswith(b"data: [DONE]\n\n")


def test_a_client_that_asks_first_is_told_to_go_on(server):
    body = json.dumps(HELLO).encode()
    with server.connect() as s:
        s.sendall(post(CHAT, b"", "Expect: 100-continue").replace(b"Content-Length: 0", b"Content-Length: %d" % len(body)))
        assert s.recv(100).startswith(b"HTTP/1.1 100")
        s.sendall(body)
        assert b"200 OK" in s.recv(65536)


def test_a_client_that_asks_first_is_refused_before_its_body(server):
    with server.connect() as s:
        s.sendall(b"POST /v1/nothing HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
        assert status(s.recv(65536)) == 404


def test_chunked_bodies_are_read(server):
    body = json.dumps(HELLO).encode()
    pieces = b"".join(b"%x\r\n%s\r\n" % (1, body[i : i + 1]) for i in range(len(body))) + b"0\r\n\r\n"
    got = server.raw(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode() + pieces)
    assert status(got) == 200


@pytest.mark.parametrize("name, pack", [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_bodies_are_unpacked(server, name, pack):
    reply = server.post(CHAT, pack(json.dumps(HELLO).encode()), headers={"Content-Encoding": name})
    assert reply.status == 200


@pytest.mark.parametrize("path", ["/health", "/v1/models"])
def test_head_is_get_without_the_body(server, path):
    reply = server.request("HEAD", path)
    assert reply.status == 200 and reply.body == b""
    assert reply.getheader("Content-Length") == str(len(server.get(path).body))


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "nonsense"])
def test_any_content_type_is_taken_where_no_page_asks(server, kind):
    assert server.post(CHAT, HELLO, headers={"Content-Type": kind}).status == 200


@pytest.mark.parametrize("path", ["/v1/models?beta=true", "/v1/models/", "/v1/v1/models", "/models"])
def test_paths_that_clients_make_lead_where_they_mean(server, path):
    assert server.json(path)["object"] == "list"


def test_names_of_models_may_hold_slashes_and_escapes(server):
    name = server.json("/v1/models")["data"][0]["id"]
    assert server.json("/v1/models/" + name)["id"] == name
    assert server.json("/v1/models/" + name.replace(":", "%3A"))["id"] == name
    assert server.json("/v1/models/a%2Fb/c", status=404)["error"]["code"] == "model_not_found"
    assert "a/b/c" in server.json("/v1/models/a%2Fb/c", status=404)["error"]["message"]


# ---- what is wrong


def test_what_is_not_there_is_404_and_a_wrong_method_405(server):
    assert server.get("/v1/nothing").status == 404
    reply = server.get(CHAT)
    assert reply.status == 405 and reply.getheader("Allow") == "POST"
    assert error_of(reply)["type"] == "invalid_request_error"


@pytest.mark.parametrize("escape", ["%00", "%", "%2", "%zz"])
def test_broken_escapes_are_refused(server, escape):
    assert server.get("/v1/models/x" + escape).status == 400


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Content-Length: 5,6"],
        ["Content-Length: -1"],
        ["Host: elsewhere"],
    ],
)
def test_requests_that_two_programs_may_read_in_two_ways_are_refused(server, lines):
    got = server.raw("\r\n".join([f"POST {CHAT} HTTP/1.1", "Host: localhost", *lines, "", "hello"]).encode())
    assert status(got) in (400, 413, None)


def test_a_giant_head_is_refused(server):
    got = server.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + b"\r\n\r\n")
    assert status(got) in (413, 431, 400)
    got = server.raw(b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert status(got) in (414, 413, 400, 404)


def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(server):
    got = server.raw(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n".encode())
    assert status(got) == 413


def test_a_body_that_does_not_say_its_length_is_cut_at_the_limit(hearth, models):
    with Server(hearth, models("default"), "--max-body", "100k") as s:
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        request = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
        assert status(s.raw(request + 2 * chunk + b"0\r\n\r\n")) == 413
        assert status(s.raw(request, *[chunk] * 200)) in (413, None)
        assert s.post(CHAT, HELLO).status == 200


def test_a_bomb_of_compression_is_refused(server):
    reply = server.post(CHAT, gzip.compress(b" " * 30_000_000), headers={"Content-Encoding": "gzip"})
    assert reply.status == 413
    assert server.post(CHAT, b"no gzip", headers={"Content-Encoding": "gzip"}).status == 400
    assert server.post(CHAT, b"x", headers={"Content-Encoding": "br"}).status == 415


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'"text"',
        b"{",
        b'{"messages": [}',
        b'{"a": 1, "a": 2}',
        b'{"temperature": NaN}',
        b'{"temperature": Infinity}',
        b'{"temperature": 1e999}',
        b'{"model": "\xff\xfe"}',
        b'{"model": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"[" * 1_000_000,
        b'{"messages":' + b"[" * 1_000_000,
        b'{"tools":' + b'{"a":' * 200_000,
    ],
)
def test_a_body_that_is_no_json_object_is_a_400_that_says_so(server, body):
    reply = server.post(CHAT, body)
    assert reply.status == 400
    assert error_of(reply)["type"] == "invalid_request_error" and error_of(reply)["message"]


# ---- who is slow, or gone


def test_a_head_that_does_not_end_is_cut_off(server):
    with server.connect() as s:
        begin = time.monotonic()
        s.sendall(b"GET /health HTTP/1.1\r\n")
        s.settimeout(0.3)
        got = b"x"
        while got and time.monotonic() - begin < 25:
            try:
                s.sendall(b"X-More: 1\r\n")
                got = s.recv(1000)
            except socket.timeout:
                continue
            except OSError:
                break
        assert 8 < time.monotonic() - begin < 20


def test_a_reader_that_takes_nothing_blocks_nobody(server):
    with server.connect() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        s.sendall(post(CHAT, json.dumps(LONG | {"stream": True, "max_tokens": 300}).encode()))
        assert server.post(CHAT, HELLO).status == 200


def test_broken_requests_disturb_nobody(server):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(server.json(CHAT, HELLO | {"max_tokens": 40})))
    thread.start()
    for _ in range(20):
        server.raw(b"\x00\x01\x02\r\n\r\n", read_until_close=False)
        server.post(CHAT, b"{")
    thread.join()
    assert answers[0]["usage"]["completion_tokens"] > 0


# ---- its end


def test_sigterm_lets_what_is_at_work_end_and_refuses_the_rest(hearth, models):
    with Server(hearth, models("default"), "--ctx", "2048") as s:
        answers = []
        thread = threading.Thread(target=lambda: answers.append(s.json(CHAT, LONG | {"max_tokens": 60})))
        thread.start()
        while at_work(s) == 0:
            time.sleep(0.01)
        s.process.send_signal(signal.SIGTERM)
        thread.join()
        assert answers[0]["usage"]["completion_tokens"] == 60
        assert s.stop() == 0


def test_the_second_signal_ends_it_at_once(hearth, models):
    with Server(hearth, models("default"), "--ctx", "2048") as s:
        c = s.connect()
        c.sendall(post(CHAT, json.dumps(LONG | {"stream": True}).encode()))
        while at_work(s) == 0:
            time.sleep(0.01)
        s.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert s.process.poll() is None
        s.process.send_signal(signal.SIGTERM)
        assert s.process.wait(5) == 0


def test_a_port_that_is_taken_is_named_with_who_holds_it(server, hearth, models):
    import subprocess

    done = subprocess.run([hearth, "serve", models("default"), "--port", str(server.port)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert str(server.port) in done.stderr and "taken" in done.stderr
