"""A relay between a client and the server, which tells the model what to write: `say(request) -> text or None`.

It passes everything on as it comes, streams too, and keeps what was asked and answered in `seen`.
"""
import http.client
import http.server
import json
import threading
import urllib.parse

HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "accept-encoding", "expect"}


class Seen:
    def __init__(self, method, path, body):
        self.method, self.path = method, path.split("?")[0]
        try:
            self.body = json.loads(body) if body else None
        except ValueError:
            self.body = None
        self.status, self.answer = None, b""

    def __repr__(self):
        return f"{self.method} {self.path} {self.status}" + (f" {self.answer[:300]}" if (self.status or 500) >= 400 else "")

    def tools(self):
        """The names of the tools that the model is offered, in any dialect."""
        tools = (self.body or {}).get("tools") or []
        return [t.get("name") or t.get("function", {}).get("name") for t in tools]


class Relay:
    """`with Relay(server, say) as r:` - r.url, r.seen."""

    def __init__(self, server, say):
        self.seen = []
        relay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"  # the end of an answer is the end of its connection

            def log_message(self, *_):
                pass

            def pass_on(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                seen = Seen(self.command, self.path, body)
                relay.seen.append(seen)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP}
                text = say(seen) if seen.body else None
                if text is not None:
                    headers["X-Hearth-Script"] = urllib.parse.quote(text)
                c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
                c.request(self.command, self.path, body or None, headers)
                reply = c.getresponse()
                seen.status = reply.status
                self.send_response(reply.status)
                for k, v in reply.getheaders():
                    if k.lower() not in HOP:
                        self.send_header(k, v)
                self.end_headers()
                while piece := reply.read1(65536):
                    seen.answer += piece
                    self.wfile.write(piece)
                    self.wfile.flush()
                c.close()

            do_GET = do_POST = do_HEAD = do_DELETE = do_PUT = do_OPTIONS = pass_on

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self):
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._http.shutdown()
        self._http.server_close()
