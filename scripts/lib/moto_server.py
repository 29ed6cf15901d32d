"""moto_server, restricted to one request at a time.

moto 5.2.5 does a conditional put in two steps, a check and a put, and handles requests in parallel threads. So two of
several simultaneous conditional puts can succeed. S3 and DynamoDB let only one succeed, and so does this server.
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
