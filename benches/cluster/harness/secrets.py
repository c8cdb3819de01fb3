"""Makes many objects of random data over sixteen connections, as fast as the API server takes them.

  secrets.py NAMESPACE COUNT BYTES [KIND,KIND...]      inside the cluster's network, with KUBECONFIG
"""

import base64
import http.client
import json
import os
import ssl
import sys
import tempfile
import threading
from urllib.parse import urlparse

CONNECTIONS = 16
KINDS = {"secrets": "Secret", "configmaps": "ConfigMap", "serviceaccounts": "ServiceAccount"}


def kubeconfig() -> tuple[str, ssl.SSLContext]:
    import subprocess

    text = subprocess.run(["kubectl", "config", "view", "--raw", "-o", "json"], capture_output=True, check=True).stdout
    config = json.loads(text)
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as both:
        both.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        both.flush()
        context.load_cert_chain(both.name)
    return cluster["server"], context


def body(kind: str, name: str, size: int) -> bytes:
    data = base64.b64encode(os.urandom(size)).decode()
    content = {"secrets": {"data": {"value": data}}, "configmaps": {"data": {"value": data}}, "serviceaccounts": {}}[kind]
    return json.dumps({"apiVersion": "v1", "kind": KINDS[kind], "metadata": {"name": name}, **content}).encode()


def main() -> None:
    namespace, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    kinds = sys.argv[4].split(",") if len(sys.argv) > 4 else ["secrets"]
    server, context = kubeconfig()
    address = urlparse(server)
    failed: list[str] = []

    def make(first: int) -> None:
        connection = http.client.HTTPSConnection(address.hostname, address.port, context=context)
        for number in range(first, count, CONNECTIONS):
            kind = kinds[number % len(kinds)]
            target = f"/api/v1/namespaces/{namespace}/{kind}"
            connection.request("POST", target, body(kind, f"bench-{number:06}", size), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 201:
                failed.append(text.decode())
                return

    threads = [threading.Thread(target=make, args=(first,)) for first in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        sys.exit(failed[0])


main()
