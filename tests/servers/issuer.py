"""Gives temporary keys as the clouds' own services do: a container's, a pod's, a machine's metadata server, a token service.

issuer.py PORT KEY SECRET [CERTIFICATE CERTIFICATE_KEY]
"""

import http.server
import json
import ssl
import sys
from urllib.parse import parse_qs, urlsplit

PORT, KEY, SECRET = int(sys.argv[1]), sys.argv[2], sys.argv[3]
EXPIRES = "2099-01-01T00:00:00Z"
KEYS = json.dumps({"AccessKeyId": KEY, "SecretAccessKey": SECRET, "Token": "", "Expiration": EXPIRES})
METADATA = "/latest/meta-data/iam/security-credentials/"
ASSUMED = f"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials>
<AccessKeyId>{KEY}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey><SessionToken></SessionToken>
<Expiration>{EXPIRES}</Expiration>
</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, text: str | None) -> None:
        body = (text or "refused").encode()
        self.send_response(403 if text is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/pod":
            self.answer(KEYS if self.headers.get("Authorization") == "pod-token" else None)
        elif self.headers.get("X-aws-ec2-metadata-token") != "metadata-token":
            self.answer(None)
        else:
            self.answer({METADATA: "role", METADATA + "role": KEYS}.get(self.path))

    def do_PUT(self) -> None:
        self.answer("metadata-token" if self.path == "/latest/api/token" else None)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        asked = parse_qs(urlsplit(self.path).query) | parse_qs(self.rfile.read(length).decode())
        right = asked.get("WebIdentityToken") == ["web-token"] and asked.get("RoleArn") == ["arn:aws:iam::1:role/backup"]
        self.answer(ASSUMED if right else None)

    def log_message(self, *_: object) -> None:
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
if len(sys.argv) > 4:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[4], sys.argv[5])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
