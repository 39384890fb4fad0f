"""moto's S3 server as a process, with faults: `python -m tests.objects.server PORT`.

`GET /faults/log` lists the requests since the last call. `GET /faults/PLAN` sets what happens to requests: PLAN is
`none`, or `CODE:COUNT:METHOD:PART`. The next COUNT requests with METHOD and with PART in the path are answered with
CODE; `-` stands for any. With `lost` for CODE the request is carried out and 500 answered.

One request is handled at a time, because moto checks the condition of a write and writes in two steps.
"""

import sys
import threading
from urllib.parse import unquote

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, run_simple

ERRORS = {"500": "InternalError", "503": "SlowDown", "403": "AccessDenied"}


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


class Faulty:
    def __init__(self, app):
        self.app = app
        self.guard = threading.Lock()
        self.plan = None
        self.left = 0
        self.seen = []

    def __call__(self, environ, start_response):
        path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        if path.startswith("/faults/"):
            return self.control(unquote(path.removeprefix("/faults/")), start_response)
        with self.guard:
            self.seen.append(f"{method} {path}?{environ.get('QUERY_STRING', '')}")
            code = self.fault(method, path)
            if code == "lost":
                list(self.app(environ, lambda *_: lambda _: None))
                code = "500"
            elif code:
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            if code:
                start_response(f"{code} fault", [("Content-Type", "application/xml")])
                return [f"<Error><Code>{ERRORS[code]}</Code><Message>a planned fault</Message></Error>".encode()]
            return self.app(environ, start_response)

    def fault(self, method, path):
        if not self.left:
            return ""
        code, wanted, part = self.plan
        if wanted not in ("-", method) or (part != "-" and part not in path):
            return ""
        self.left -= 1
        return code

    def control(self, text, start_response):
        with self.guard:
            if text == "log":
                body = "\n".join(self.seen)
                self.seen = []
            else:
                body = ""
                code, count, method, part = text.split(":") if text != "none" else ("", "0", "", "")
                self.plan, self.left = (code, method, part), int(count)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [body.encode()]


if __name__ == "__main__":
    run_simple(
        "127.0.0.1",
        int(sys.argv[1]),
        Faulty(DomainDispatcherApplication(create_backend_app)),
        threaded=True,
        request_handler=Quiet,
    )
