"""A Google Cloud Storage server for tests: moto's S3 with generations and Google's headers, in memory.

Usage: python gcs_fake.py PORT, with moto[server] installed. It listens on 127.0.0.1 alone; PUT /BUCKET makes a bucket.
Every object has a generation; x-goog-if-generation-match holds for puts, uploads, copies and deletes under one lock,
so create-if-absent is exact. Not there: credentials, retention, old generations.
"""

import io
import itertools
import sys
import threading
from urllib.parse import parse_qs, unquote

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

# Moto tells services apart by the credential's scope; the signature is not checked.
AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"


class Handler(MotoRequestHandler):
    """Renames Google's headers to Amazon's and signs every request as S3's."""

    def make_environ(self):
        for name, value in list(self.headers.items()):
            if name.lower().startswith("x-goog-"):
                del self.headers[name]
                self.headers["x-amz-" + name[7:]] = value
        return {**super().make_environ(), "HTTP_AUTHORIZATION": AUTHORIZATION}


moto = DomainDispatcherApplication(create_backend_app)
lock = threading.RLock()
next_generation = itertools.count(1000)
live = {}  # "/BUCKET/KEY" -> its generation


def gcs(env, start):
    # Read before the lock is taken: a slow client must not hold everybody up.
    env["wsgi.input"] = io.BytesIO(env["wsgi.input"].read(int(env.get("CONTENT_LENGTH") or 0)))
    key, method = env["PATH_INFO"], env["REQUEST_METHOD"]
    query = parse_qs(env["QUERY_STRING"], keep_blank_values=True)
    wanted = env.pop("HTTP_X_AMZ_IF_GENERATION_MATCH", None)
    source = env.get("HTTP_X_AMZ_COPY_SOURCE")
    with lock:
        generation = live.get(key, 0)
        no_source = source and "/" + unquote(source, "latin-1") not in live
        nothing_to_delete = method == "DELETE" and not query and not generation
        other_generation = query.get("generation", [str(generation)]) != [str(generation)]
        if no_source or nothing_to_delete or other_generation:
            start("404 Not Found", [])
            return [b"<Error><Code>NoSuchKey</Code></Error>"]
        if wanted and int(wanted) != generation:
            start("412 Precondition Failed", [])
            return [b"<Error><Code>PreconditionFailed</Code></Error>"]
        reply = []
        body = b"".join(moto(env, lambda status, headers, info=None: reply.extend((status, headers))))
        if reply[0][0] == "2" and key.count("/") > 1:
            # A plain put, or the end of an upload in parts; a part by itself makes no object.
            if (method, "uploadId" in query) in (("PUT", False), ("POST", True)):
                live[key] = next(next_generation)
            elif method == "DELETE" and not query:
                del live[key]
        headers = [(n.lower().replace("x-amz-", "x-goog-"), v) for n, v in reply[1] if n.lower() != "connection"]
        if key in live:
            headers.append(("x-goog-generation", str(live[key])))
    start(reply[0], headers)
    return [body]


run_simple("127.0.0.1", int(sys.argv[1]), gcs, threaded=True, request_handler=Handler)
