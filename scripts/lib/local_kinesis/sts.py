"""A local STS, with which everyone can assume every role."""

import threading
import time
from collections import Counter
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
LATE_SECONDS = 1.5


class Sts:
    """Issues sessions of `session_seconds` seconds, each with a different key. With `dice`, a random.Random, one call
    in three fails with status 500, is throttled, or is late. Ends with `stop()`, or as a context manager."""

    def __init__(self, session_seconds=3_600, dice=None):
        self._seconds, self._dice = session_seconds, dice
        self._lock = threading.Lock()
        self._ends = {}
        self.sessions = Counter()
        self.trouble = Counter()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def calls(self):
        """Number of AssumeRole calls so far."""
        return self.sessions.total() + self.trouble["error"] + self.trouble["throttle"]

    def expired(self):
        """The keys of expired sessions."""
        now = time.time()
        with self._lock:
            return [key for key, end in self._ends.items() if end < now]

    def _answer(self, session):
        """Status and body of a response, and the delay before it."""
        with self._lock:
            trouble = self._dice.choice(["error", "throttle", "late"]) if self._dice and self._dice.random() < 1 / 3 else None
            if trouble:
                self.trouble[trouble] += 1
            if trouble == "error":
                return 500, refusal("InternalFailure", "later"), 0
            if trouble == "throttle":
                return 400, refusal("Throttling", "Rate exceeded"), 0
            self.sessions[session] += 1
            key, wait = f"ASIASESSION{self.sessions.total()}", LATE_SECONDS if trouble else 0
            end = self._ends[key] = time.time() + wait + self._seconds
        return 200, assumed(key, end), wait

    def _handler(self):
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                status, body, wait = answer(asked["RoleSessionName"][0])
                time.sleep(wait)
                self.send_response(status)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def assumed(key, end):
    """The body of a response with a session."""
    text = datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return (
        f'<AssumeRoleResponse xmlns="{NAMESPACE}"><AssumeRoleResult><Credentials><AccessKeyId>{key}</AccessKeyId>'
        f"<SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken><Expiration>{text}</Expiration>"
        "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
    ).encode()


def refusal(code, message):
    return (
        f'<ErrorResponse xmlns="{NAMESPACE}"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>'
        "</Error><RequestId>r-1</RequestId></ErrorResponse>"
    ).encode()
