"""An issuer of identities for the tests: an OpenID provider and a small GitHub, in one process.

Checks what a client sends as an issuer would, and signs with another implementation than the server's.
Whoever is named in the query of the authorization address (`user=`) has logged in and agreed. `/control`
lets a test rotate keys, answer slowly and lie; `/sign` signs anything. Prints its address once it listens.
"""

import argparse
import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

CLIENT = "verbatim"
SECRET = "a secret with spaces & signs"
PEOPLE = {
    "alice": {"sub": "sub-alice", "number": 7, "name": "Alice Liddell", "email": "alice@id.example"},
    "bob": {"sub": "sub-bob", "number": 8, "name": "Bob", "email": "bob@id.example"},
    "carol": {"sub": "sub-carol", "number": 9, "name": "Carol", "email": "carol@id.example"},
}


class State:
    """What the issuer knows; guarded by `lock`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.url = ""
        self.codes: dict[str, dict] = {}
        self.tokens: dict[str, str] = {}
        self.lies: dict = {}
        self.slow_s = 0.0
        self.requests: dict[str, int] = {}
        self.algorithm = "RS256"
        self.keys = [self.new_key("RS256")]

    def new_key(self, algorithm: str):
        """A private key of a fresh name."""
        parameters = {"kid": secrets.token_hex(4), "use": "sig", "alg": algorithm}
        if algorithm == "RS256":
            return RSAKey.generate_key(2048, parameters)
        if algorithm == "ES256":
            return ECKey.generate_key("P-256", parameters)
        return OKPKey.generate_key("Ed25519", parameters)

    def rotate(self, algorithm: str, keep: bool) -> None:
        """Signs with another key from now on, and publishes the old one no longer unless it is kept."""
        key = self.new_key(algorithm)
        self.algorithm = algorithm
        self.keys = [key, *self.keys] if keep else [key]

    def sign(self, claims: dict, how: str = "") -> str:
        """A token: well signed, or as `how` says."""
        key = self.keys[0]
        header = {"alg": self.algorithm, "kid": key.kid, "typ": "JWT"}
        if how == "none":
            return f"{encode(json.dumps({**header, 'alg': 'none'}))}.{encode(json.dumps(claims))}."
        if how == "public_key_as_secret":
            # By hand: a good library refuses to.
            text = f"{encode(json.dumps({**header, 'alg': 'HS256'}))}.{encode(json.dumps(claims))}"
            signature = hmac.digest(key.as_pem(private=False), text.encode(), "sha256")
            return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
        if how == "other_key":
            other = self.new_key(self.algorithm)
            return jwt.encode(header, claims, other, algorithms=[self.algorithm])
        if how == "unknown_key":
            header["kid"] = secrets.token_hex(4)
        token = jwt.encode(header, claims, key, algorithms=[self.algorithm])
        if how == "tampered":
            head, _, signature = token.split(".")
            return f"{head}.{encode(json.dumps({**claims, 'sub': 'sub-bob'}))}.{signature}"
        return token


def encode(text: str) -> str:
    """Base64 as JSON Web Tokens have it."""
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


class Refused(Exception):
    """What the client sent is wrong: a status and a body."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error


class Issuer(BaseHTTPRequestHandler):
    """Answers requests."""

    protocol_version = "HTTP/1.1"
    state: State

    def do_GET(self) -> None:  # noqa: N802
        self.answer({
            "/.well-known/openid-configuration": self.discovery,
            "/keys": self.published,
            "/authorize": self.authorize,
            "/userinfo": self.userinfo,
            "/login/oauth/authorize": self.github_authorize,
            "/api/v3/user": self.github_user,
            "/api/v3/user/emails": self.github_emails,
            "/requests": lambda: dict(self.state.requests),
        })

    def do_POST(self) -> None:  # noqa: N802
        self.answer({
            "/token": self.token,
            "/login/oauth/access_token": self.github_token,
            "/control": self.control,
            "/sign": self.signed,
            "/webhook": self.webhook,
        })

    def answer(self, routes: dict) -> None:
        """Answers with what the route gives: JSON, or an address to go to."""
        split = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(split.query).items()}
        self.sent = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        with self.state.lock:
            self.state.requests[split.path] = self.state.requests.get(split.path, 0) + 1
            slow_s = 0 if split.path in ("/control", "/sign", "/webhook", "/requests") else self.state.slow_s
        time.sleep(slow_s)
        location = None
        try:
            with self.state.lock:
                route = routes.get(split.path)
                if route is None:
                    raise Refused(404, "not_found")
                body = route()
            status = 200
            if isinstance(body, str):
                status, location, body = 302, body, {}
        except Refused as refused:
            status, body = refused.status, {"error": refused.error}
        text = json.dumps(body).encode()
        try:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            if location:
                self.send_header("location", location)
            self.end_headers()
            self.wfile.write(text)
        except BrokenPipeError:
            pass  # Whoever asked did not wait.

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def discovery(self) -> dict:
        url = self.state.url
        return {
            "issuer": url,
            "authorization_endpoint": f"{url}/authorize",
            "token_endpoint": f"{url}/token",
            "jwks_uri": f"{url}/keys",
            "userinfo_endpoint": f"{url}/userinfo",
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "authorization_response_iss_parameter_supported": True,
        }

    def published(self) -> dict:
        return {"keys": [key.as_dict(private=False) for key in self.state.keys]}

    def agreed(self) -> str:
        """Checks what the browser brings, and gives the code that it takes back."""
        query = self.query
        if query.get("client_id") != CLIENT or query.get("code_challenge_method") != "S256":
            raise Refused(400, "invalid_request")
        code = secrets.token_urlsafe(16)
        self.state.codes[code] = query
        return code

    def authorize(self) -> str:
        query = self.query
        if query.get("response_type") != "code" or "openid" not in query["scope"].split():
            raise Refused(400, "invalid_scope")
        answer = {"code": self.agreed(), "state": query["state"], "iss": self.state.url}
        return f"{query['redirect_uri']}?{urlencode(answer)}"

    def redeemed(self, form: dict) -> dict:
        """What the browser of this code brought, once."""
        begun = self.state.codes.pop(form.get("code"), None)
        if begun is None or begun["redirect_uri"] != form.get("redirect_uri"):
            raise Refused(400, "invalid_grant")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if challenge != begun["code_challenge"]:
            raise Refused(400, "invalid_grant")
        return begun

    def form(self) -> dict:
        return {name: values[0] for name, values in parse_qs(self.sent).items()}

    def token(self) -> dict:
        scheme, _, credentials = self.headers.get("authorization", "").partition(" ")
        given = base64.b64decode(credentials).decode() if scheme == "Basic" else ":"
        name, _, secret = given.partition(":")
        if (unquote(name), unquote(secret)) != (CLIENT, SECRET):
            raise Refused(401, "invalid_client")
        begun = self.redeemed(self.form())
        person = PEOPLE[begun["user"]]
        now = int(time.time())
        claims = {
            "iss": self.state.url,
            "sub": person["sub"],
            "aud": CLIENT,
            "exp": now + 300,
            "iat": now,
            "nonce": begun["nonce"],
            "preferred_username": begun["user"],
            "name": person["name"],
        }
        if begun.get("told") != "userinfo":
            claims.update({"email": person["email"], "email_verified": True})
        lies = dict(self.state.lies)
        how = lies.pop("how", "")
        access_token = secrets.token_urlsafe(16)
        self.state.tokens[access_token] = begun["user"]
        id_token = self.state.sign({**claims, **lies}, how)
        return {"access_token": access_token, "token_type": "Bearer", "id_token": id_token}

    def bearer(self) -> str:
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        user = self.state.tokens.get(token)
        if user is None:
            raise Refused(401, "invalid_token")
        return user

    def userinfo(self) -> dict:
        user = self.bearer()
        person = PEOPLE[user]
        return {
            "sub": person["sub"],
            "name": person["name"],
            "preferred_username": user,
            "email": person["email"],
            "email_verified": True,
        }

    def github_authorize(self) -> str:
        answer = {"code": self.agreed(), "state": self.query["state"]}
        return f"{self.query['redirect_uri']}?{urlencode(answer)}"

    def github_token(self) -> dict:
        form = self.form()
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
            return {"error": "incorrect_client_credentials"}
        try:
            begun = self.redeemed(form)
        except Refused:
            return {"error": "bad_verification_code"}
        token = secrets.token_urlsafe(16)
        self.state.tokens[token] = begun["user"]
        return {"access_token": token, "token_type": "bearer", "scope": "user:email"}

    def github_user(self) -> dict:
        user = self.bearer()
        person = PEOPLE[user]
        return {"id": person["number"], "login": user, "name": person["name"]}

    def github_emails(self) -> list:
        person = PEOPLE[self.bearer()]
        return [
            {"email": f"old-{person['email']}", "primary": False, "verified": True},
            {"email": person["email"], "primary": True, "verified": True},
        ]

    def control(self) -> dict:
        told = json.loads(self.sent)
        if "rotate" in told:
            self.state.rotate(told["rotate"], told.get("keep", False))
        self.state.slow_s = told.get("slow_s", self.state.slow_s)
        self.state.lies = told.get("lies", {})
        return {}

    def signed(self) -> dict:
        told = json.loads(self.sent)
        now = int(time.time())
        claims = {"iss": self.state.url, "aud": "api", "iat": now, "exp": now + 300, **told["claims"]}
        return {"token": self.state.sign(claims, told.get("how", ""))}

    def webhook(self) -> dict:
        """The headers of a webhook, as Standard Webhooks says."""
        told = json.loads(self.sent)
        key = base64.b64decode(told["secret"].removeprefix("whsec_"))
        seconds = str(int(time.time()))
        text = f"{told['id']}.{seconds}.{told['body']}".encode()
        signature = base64.b64encode(hmac.digest(key, text, "sha256")).decode()
        return {
            "webhook-id": told["id"],
            "webhook-timestamp": seconds,
            "webhook-signature": f"v1,{signature}",
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    arguments = parser.parse_args()
    Issuer.state = State()
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Issuer)
    server.daemon_threads = True
    Issuer.state.url = f"http://127.0.0.1:{server.server_address[1]}"
    print(Issuer.state.url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
