#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""faulty.py UPSTREAM-PORT [--token]: an http server on a free port of 127.0.0.1 (printed on stdout) in front of a
registry, which fails as /fault/MODE/ at the front of the repository's name says:

  cut       every blob answer is cut after 100,000 bytes, so it takes many range requests
  cut0      the same without ranges
  slow429   the first two requests of each path get 429 with Retry-After: 0
  wait429   the first request of each path gets 429 with Retry-After: 1, those that come before that 403
  fail5     the first three requests of each path get 503
  always500 every request gets 500
  lie       blobs have their last byte changed
  liefirst  blobs have their first byte changed
  liehalf   the second half of layers is what no decompressor takes
  liebreak  the same, and the connection breaks in the middle
  liemani   manifests that are asked for by digest have a byte more
  long      blobs are longer than announced
  short     blobs are shorter than their manifest says
  garbage   manifests are not JSON
  huge      manifests never end
  elsewhere blobs redirect to another host name (localhost), which reports the headers it sees; uploads are sent there
  upcut     the first PATCH and the first PUT of an upload are taken by half, then the connection breaks
  up503     the first PUT of an upload gets 503
  nomount   no blob is mounted
  stall     blobs stop in the middle

/requests says what was asked, /connections how many connections that took.

With --token, requests need a bearer token from /token, which wants user:secret, or the refresh token "renew" (OAuth2);
tokens are good for two requests.
"""
import base64
import http.client
import http.server
import json
import re
import sys
import threading
import time
import urllib.parse

from server import serve

upstream = int(sys.argv[1])
want_token = "--token" in sys.argv
seen = {}
tokens = {}
asked = {}
leaks = []
requests = []
gone = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def parse_request(self):
        self.unread = 0
        good = super().parse_request()
        if good:
            self.unread = int(self.headers.get("Content-Length") or 0)
        return good

    def answer(self, status, body=b"", headers=()):
        self.rfile.read(self.unread)    # else it would be the next request
        self.unread = 0
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def check_token(self):
        if not want_token:
            return True
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if tokens.get(token, 0) > 0:
            tokens[token] -= 1
            return True
        port = self.server.server_address[1]
        self.answer(401, b"{}", [("WWW-Authenticate", 'Bearer realm="http://127.0.0.1:%d/token",service="test, quoted",'
                                  'scope="repository:x:pull"' % port)])
        return False

    def give_token(self):
        want = "Basic " + base64.b64encode(b"user:secret").decode()
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        if self.command == "POST":
            form = urllib.parse.parse_qs(self.rfile.read(self.unread).decode())
            self.unread = 0
            good = form.get("grant_type") == ["refresh_token"] and form.get("refresh_token") == ["renew"]
        else:
            form = query
            good = self.headers.get("Authorization") == want
        if not good or form.get("service") != ["test, quoted"]:
            return self.answer(401, b"{}")
        token = "t%d" % len(tokens)
        tokens[token] = 2
        return self.answer(200, json.dumps({"token": token, "expires_in": 3600}).encode())

    def do_GET(self):
        if self.path.startswith("/token"):
            return self.give_token()
        if self.path.startswith("/other/"):
            leaks.append(self.headers.get("Authorization"))
            return self.forward("elsewhere", self.path.removeprefix("/other"))
        if self.path == "/leaks":
            return self.answer(200, json.dumps(leaks).encode())
        if self.path == "/requests":
            return self.answer(200, json.dumps(requests).encode())
        if self.path == "/connections":
            return self.answer(200, json.dumps(self.server.connections - 1).encode())
        requests.append("%s %s" % (self.command, self.path))
        if not self.check_token():
            return None
        match = re.match(r"/v2/fault/(\w+)/(?:fault/\w+/)*(.*)", self.path)
        mode, path = (match.group(1), "/v2/" + match.group(2)) if match else ("", self.path)
        seen[self.path] = seen.get(self.path, 0) + 1
        if mode == "slow429" and seen[self.path] <= 2:
            return self.answer(429, b"{}", [("Retry-After", "0")])
        if mode == "wait429":
            first = asked.setdefault(self.path, time.monotonic())
            if seen[self.path] == 1:
                return self.answer(429, b"{}", [("Retry-After", "1")])
            if time.monotonic() - first < 1:
                return self.answer(403)
        if mode == "huge" and "/manifests/" in path:
            return self.never_end()
        if mode == "fail5" and seen[self.path] <= 3:
            return self.answer(503)
        if mode == "always500":
            return self.answer(500, b'{"errors":[{"code":"UNKNOWN","message":"it \\u001b[31mbroke"}]}')
        if mode == "garbage" and "/manifests/" in path:
            return self.answer(200, b"no json", [("Content-Type", "text/plain")])
        if mode == "nomount":
            path = path.partition("?mount=")[0]
        if mode == "elsewhere" and "/blobs/" in path and self.command == "GET":
            port = self.server.server_address[1]
            return self.answer(307, b"", [("Location", "http://localhost:%d/other%s" % (port, path))])
        return self.forward(mode, path)

    def never_end(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
        self.end_headers()
        self.close_connection = True
        self.wfile.write(b'{"schemaVersion": 2, "annotations": {"x": "')
        while True:
            self.wfile.write(b"x" * 65536)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_GET

    def rewrite(self, mode, location):
        """An upload goes on through us, with the same fault; or on another host name."""
        path = location.partition("//")[2].partition("/")[2]
        if mode == "elsewhere":
            return "http://localhost:%d/other/%s" % (self.server.server_address[1], path)
        return "/v2/fault/%s/%s" % (mode, path.removeprefix("v2/")) if mode else "/" + path

    def read_body(self, mode):
        """The body, and whether it is all of it."""
        length = int(self.headers.get("Content-Length") or 0)
        self.unread = 0
        key = mode + self.command + self.path.partition("?")[0]
        seen[key] = seen.get(key, 0) + 1
        if mode == "upcut" and self.command in ("PATCH", "PUT") and length > 1000 and seen[key] == 1:
            return self.rfile.read(length // 2), False
        return self.rfile.read(length), True

    def forward(self, mode, path):
        headers = {"Accept": self.headers.get("Accept", "*/*")}
        if self.headers.get("Range") and mode != "cut0":
            headers["Range"] = self.headers["Range"]
        body, whole = self.read_body(mode)
        if mode == "up503" and self.command == "PUT" and "digest=" in path and seen["up503PUT" + self.path.partition("?")[0]] == 1:
            return self.answer(503)
        if self.headers.get("Content-Type"):
            headers["Content-Type"] = self.headers["Content-Type"]
        conn = http.client.HTTPConnection("127.0.0.1", upstream)
        if not whole and self.command == "PUT":
            self.close_connection = True
            return None
        conn.request(self.command, path, headers=headers, body=body if self.command not in ("GET", "HEAD") else None)
        reply = conn.getresponse()
        body = reply.read()
        conn.close()
        if not whole:
            self.close_connection = True
            return None
        keep = [(n, v) for n, v in reply.getheaders()
                if n.lower() in ("content-type", "content-range", "range", "docker-content-digest")]
        keep += [(n, self.rewrite(mode, v)) for n, v in reply.getheaders() if n.lower() == "location"]
        blob = "/blobs/" in path
        if blob and mode == "lie" and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        if blob and mode in ("liefirst", "liebreak") and body and not self.headers.get("Range"):
            body = bytes([body[0] ^ 1]) + body[1:]
        if blob and mode == "liehalf" and body[:2] == b"\x1f\x8b":
            body = body[:len(body) // 2] + b"\xff" * (len(body) - len(body) // 2)
        if mode == "liemani" and "/manifests/sha256:" in path:
            body += b" "
        if blob and mode == "liebreak":
            self.send_response(reply.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if not self.headers.get("Range"):
                self.wfile.write(body[:len(body) // 2])
            self.close_connection = True
            return None
        if blob and mode == "stall" and len(body) > 1000:
            self.send_response(reply.status)
            for name, value in keep:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:500])
            self.wfile.flush()
            gone.wait()
        if blob and mode == "short":
            body = body[:-10] if self.command == "GET" and not self.headers.get("Range") else b""
        if blob and mode == "long":
            body += b"more"
        if blob and mode in ("cut", "cut0"):
            seen["cut" + path] = seen.get("cut" + path, 0) + 1
            limit = 100000 if mode == "cut" else 100000 * seen["cut" + path]
            self.send_response(reply.status)
            for name, value in keep:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:limit])
            self.close_connection = True
            return None
        return self.answer(reply.status, body, keep)


serve(Handler)
