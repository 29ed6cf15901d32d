"""A reverse proxy that answers in place of a service, or changes its answers."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Meddler:
    """Passes requests on to `endpoint`. `rule` may be a function of (operation, body, pass_on), where `pass_on` returns the
    service's (status, headers, body); it returns such a triple, or None to pass the request on. `hang up` as a
    result closes the connection."""

    def __init__(self, endpoint, port=0):
        self.rule = None
        self.seen = []
        target = urlsplit(endpoint)
        meddler = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                self.connection.settimeout(120)

            def serve(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("connection",)}
                operation = (headers.get("X-Amz-Target") or headers.get("x-amz-target") or self.command).rpartition(".")[2]

                def pass_on():
                    way = http.client.HTTPConnection(target.hostname, target.port, timeout=60)
                    try:
                        way.request(self.command, self.path, body, headers)
                        answer = way.getresponse()
                        return answer.status, dict(answer.getheaders()), answer.read()
                    finally:
                        way.close()

                rule = meddler.rule
                meddler.seen.append((operation, self.path))
                answer = rule(operation, body, pass_on) if rule else None
                if answer == "hang up":
                    self.close_connection = True
                    return
                status, answered, content = answer or pass_on()
                self.send_response_only(status)
                for name, value in answered.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = serve

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass

        self._server = Server(("127.0.0.1", port), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
