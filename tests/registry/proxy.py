#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""proxy.py LOG [USER:PASSWORD]: a forward proxy on a free port of 127.0.0.1 (printed on stdout): absolute addresses and
CONNECT.  Each request is a line of LOG.  With USER:PASSWORD it answers 407 to whoever does not say so."""
import base64
import http.client
import http.server
import select
import socket
import sys
import urllib.parse

from server import serve

log = sys.argv[1]
want = "Basic " + base64.b64encode(sys.argv[2].encode()).decode() if len(sys.argv) > 2 else None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def admitted(self):
        with open(log, "a") as out:
            print(self.command, self.path, file=out)
        if not want or self.headers.get("Proxy-Authorization") == want:
            return True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="proxy"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def do_CONNECT(self):
        if not self.admitted():
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as upstream:
            self.send_response(200)
            self.end_headers()
            self.close_connection = True
            ends = {self.connection: upstream, upstream: self.connection}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    ends[end].sendall(data)

    def do_GET(self):
        if not self.admitted():
            return
        url = urllib.parse.urlsplit(self.path)
        conn = http.client.HTTPConnection(url.hostname, url.port)
        headers = {n: v for n, v in self.headers.items() if not n.lower().startswith("proxy-")}
        conn.request(self.command, urllib.parse.urlunsplit(("", "", url.path, url.query, "")), headers=headers)
        reply = conn.getresponse()
        body = reply.read()
        self.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


serve(Handler)
