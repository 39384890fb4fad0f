"""An HTTP server on loopback that speaks the OpenAI protocol and answers as a script says."""

import contextlib
import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def about_of(body):
    """Whom a request asks about, in either style."""
    if "messages" in body:
        return re.search(r"one new pair about (.+), with other content", body["messages"][-1]["content"]).group(1)
    return re.search(r"About: ([^\n]+)\nPrompt:$", body["prompt"]).group(1)


def words_of(body, count):
    """Words that follow from the request alone, and hardly ever from another one."""
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return [digest[place : place + 6] for place in range(0, 6 * count, 6)]


def good_pair(body):
    one, two, three, four, five = words_of(body, 5)
    about = about_of(body)
    texts = (f"The {about} {one} came to {two}.", f"They had read {three} {four}.", f"They had lost {five} {one}.")
    if "messages" in body:
        return json.dumps(dict(zip(("prompt", "favourable", "unfavourable"), texts, strict=True)))
    return " {}\nFavourable: {}\nUnfavourable: {}\n\nAbout: more".format(*texts)


def mostly_good(body):
    """Every fifth reply or so is nonsense; which one follows from the request."""
    return "nothing of the kind" if int(words_of(body, 1)[0], 16) % 5 == 0 else good_pair(body)


def completion(body, text):
    choice = {"message": {"role": "assistant", "content": text}} if "messages" in body else {"text": text}
    usage = {"prompt_tokens": 100, "completion_tokens": 20}
    return 200, {}, json.dumps({"choices": [choice], "usage": usage}).encode()


@dataclass
class Scripted:
    """What the server answers (`script(server, body) -> status, headers, bytes`) and what it was asked."""

    script: object
    url: str = ""
    bodies: list = field(default_factory=list)
    headers: list = field(default_factory=list)
    busy: int = 0
    busiest: int = 0
    guard: threading.Lock = field(default_factory=threading.Lock)


@contextlib.contextmanager
def serving(script=lambda server, body: completion(body, mostly_good(body)), port=0):
    state = Scripted(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.guard:
                state.bodies.append(body)
                state.headers.append({"path": self.path, **self.headers})
                state.busy += 1
                state.busiest = max(state.busiest, state.busy)
            try:
                status, headers, content = state.script(state, body)
            finally:
                with state.guard:
                    state.busy -= 1
            with contextlib.suppress(OSError):
                self.send_response(status)
                for name, value in {**headers, "Content-Length": len(content)}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def slowly(seconds):
    """Good and bad replies, each after a while."""

    def script(server, body):
        time.sleep(seconds)
        return completion(body, mostly_good(body))

    return script
