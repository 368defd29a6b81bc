# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the servers of these tests share."""
import http.server
import socketserver


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    connections = 0

    def process_request(self, request, client_address):
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request, client_address):
        """A client that hangs up, or is killed, is what we are here for."""


def serve(handler):
    """On a free port of 127.0.0.1, which is printed, until killed."""
    server = Server(("127.0.0.1", 0), handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
