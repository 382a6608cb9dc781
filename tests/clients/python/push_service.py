"""A push service and its browsers: takes pushes as RFC 8030 says, checks who sends them (RFC 8292) and opens
them as a browser would (RFC 8291). What it took is told at /pushes."""

import argparse
import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

LOCK = threading.Condition()
BROWSERS = {}
TAKEN = []
STATE = {"answers": [], "hold": False, "held": 0, "requests": 0}


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def point(key):
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


class Browser:
    """What a browser keeps of its subscription."""

    def __init__(self, name, server_key):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.public = point(self.key.public_key())
        self.auth = name.encode().ljust(16, b".")[:16]
        self.server_key = server_key

    def open(self, body):
        salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
        theirs, sealed = body[21 : 21 + length], body[21 + length :]
        assert len(body) <= 4096 and len(sealed) <= size, "one record that is not too long"
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs)
        shared = self.key.exchange(ec.ECDH(), public)
        derive = lambda length, salt, info, secret: HKDF(
            hashes.SHA256(), length, salt, info
        ).derive(secret)
        info = b"WebPush: info\0" + self.public + theirs
        secret = derive(32, self.auth, info, shared)
        key = derive(16, salt, b"Content-Encoding: aes128gcm\0", secret)
        nonce = derive(12, salt, b"Content-Encoding: nonce\0", secret)
        padded = AESGCM(key).decrypt(nonce, sealed, None)
        text, end = padded.rstrip(b"\0")[:-1], padded.rstrip(b"\0")[-1]
        assert end == 2, "the last record"
        return json.loads(text)

    def check(self, authorization, origin):
        scheme, _, rest = authorization.partition(" ")
        fields = dict(field.strip().split("=", 1) for field in rest.split(","))
        assert scheme == "vapid" and fields["k"] == self.server_key, "the key that was subscribed with"
        head, claims, signature = fields["t"].split(".")
        raw = decode(signature)
        halves = (int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decode(fields["k"]))
        signed = f"{head}.{claims}".encode()
        public.verify(encode_dss_signature(*halves), signed, ec.ECDSA(hashes.SHA256()))
        assert json.loads(decode(head))["alg"] == "ES256"
        claims = json.loads(decode(claims))
        assert claims["aud"] == origin, claims
        assert time.time() < claims["exp"] <= time.time() + 24 * 60 * 60, claims
        assert claims["sub"].startswith("mailto:"), claims


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, value=None):
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        with LOCK:
            self.answer(200, {"pushes": TAKEN, **STATE})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        path = urlsplit(self.path).path
        origin = f"http://{self.headers['host']}"
        if path == "/control":
            with LOCK:
                STATE.update(json.loads(body))
                LOCK.notify_all()
            self.answer(200, {})
        elif path == "/subscribe":
            asked = json.loads(body)
            browser = Browser(asked["name"], asked["key"])
            BROWSERS[asked["name"]] = browser
            endpoint = f"{origin}/push/{asked['name']}"
            keys = {"p256dh": encode(browser.public), "auth": encode(browser.auth)}
            self.answer(200, {"endpoint": endpoint, "expirationTime": None, "keys": keys})
        else:
            self.push(path.rpartition("/")[2], origin, body)

    def push(self, name, origin, body):
        with LOCK:
            STATE["requests"] += 1
            status = STATE["answers"].pop(0) if STATE["answers"] else 201
            if STATE["hold"]:
                STATE["held"] += 1
                LOCK.wait_for(lambda: not STATE["hold"])
                STATE["held"] -= 1
                # Whoever waited is gone, or will be: nothing was taken.
                self.close_connection = True
                return
        entry = {"browser": name, "topic": self.headers["topic"], "urgency": self.headers["urgency"]}
        try:
            BROWSERS[name].check(self.headers["authorization"], origin)
            assert self.headers["content-encoding"] == "aes128gcm"
            assert int(self.headers["ttl"]) > 0
            entry["payload"] = BROWSERS[name].open(body)
        except Exception as error:  # The test reads it.
            entry["wrong"] = repr(error)
        with LOCK:
            if status == 201:
                TAKEN.append(entry)
        self.answer(status)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
