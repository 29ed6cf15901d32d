"""moto_server, answering one request after the other.

moto 5.2.5 looks whether an object or item is there and puts it in two steps, in as many threads as there are requests:
of several conditional puts at once, two can succeed. S3 and DynamoDB let one succeed, and so does this.
"""

import threading

from moto import server

run_simple = server.run_simple
turn = threading.Lock()


def one_at_a_time(application):
    def answer(environ, start_response):
        with turn:
            body = application(environ, start_response)
            try:
                return list(body)
            finally:
                if hasattr(body, "close"):
                    body.close()

    return answer


server.run_simple = lambda host, port, application, **rest: run_simple(host, port, one_at_a_time(application), **rest)
server.main()
