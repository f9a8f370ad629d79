"""An application's own server: passkeys by passkey-hsm, sessions by itself. See README.md."""

import json
import os
import re
import secrets
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt

LEEWAY = 5
SESSION_SECONDS = 3600


class Refused(Exception):
    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status


class Verifier:
    """Verifies the tokens of one tenant, each of them once."""

    ALGORITHMS = ["ES256", "ES384", "RS256", "PS256", "EdDSA"]

    def __init__(self, url, tenant, rp_id):
        self.issuer, self.audience = f"{url}/{tenant}", rp_id
        # Cached; fetched again when a token names a key that is not there, but not for every such token.
        self.keys = jwt.PyJWKClient(f"{self.issuer}/.well-known/jwks.json", timeout=5)
        self.used, self.lock = {}, threading.Lock()

    def verify(self, token):
        """The claims of a login's token. Raises Refused."""
        rules = {"require": ["exp", "iss", "aud", "sub", "cred", "jti"]}
        try:
            # The key decides on the algorithm, not the token.
            key = self.keys.get_signing_key_from_jwt(token)
            claims = jwt.decode(token, key, self.ALGORITHMS, rules, issuer=self.issuer, audience=self.audience, leeway=LEEWAY)
        except jwt.PyJWKClientConnectionError as error:
            # That says nothing about the token.
            raise Refused(503, "the keys cannot be fetched") from error
        except (jwt.PyJWTError, ValueError) as error:
            raise Refused(401, f"the token is refused: {error}") from error
        # A token of a registration, a second factor or a transaction is as well signed as a login's, and signs nobody in.
        if claims.get("ceremony") != "login":
            raise Refused(401, f"the token is of a {claims.get('ceremony')}, not of a login")
        with self.lock:
            now = time.time()
            self.used = {jti: exp for jti, exp in self.used.items() if exp + LEEWAY >= now}
            if claims["jti"] in self.used:
                raise Refused(401, "the token was used before")
            self.used[claims["jti"]] = claims["exp"]
        return claims


class Application(BaseHTTPRequestHandler):
    verifier: Verifier
    # In memory: an application has a database for these.
    sessions: dict = {}
    timeout = 10

    def do_POST(self):
        self.answer(self.sign_in if self.path == "/session" else self.nothing)

    def do_GET(self):
        self.answer(self.me if self.path == "/me" else self.nothing)

    def sign_in(self):
        # A form of another site can post text, and cannot post JSON.
        if self.headers.get_content_type() != "application/json":
            raise Refused(415, "JSON is needed")
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,5}", length):
            raise Refused(413, "the body is too long, or of unknown length")
        try:
            token = json.loads(self.rfile.read(int(length)))["token"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Refused(400, "the body has no token") from error
        claims = self.verifier.verify(str(token))
        session = secrets.token_urlsafe(32)
        self.sessions[session] = (claims["sub"], claims["cred"], time.time() + SESSION_SECONDS)
        cookie = f"session={session}; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age={SESSION_SECONDS}"
        return 204, None, {"Set-Cookie": cookie}

    def me(self):
        cookie = re.search(r"(?:^|; )session=([\w-]+)", self.headers.get("Cookie", ""))
        user, credential, until = self.sessions.get(cookie and cookie[1], (None, None, 0))
        if until < time.time():
            raise Refused(401, "not signed in")
        return 200, {"user_id": user, "credential_id": credential}, {}

    def nothing(self):
        raise Refused(404, "there is nothing here")

    def answer(self, route):
        try:
            status, body, headers = route()
        except Refused as refused:
            status, body, headers = refused.status, {"error": str(refused)}, {}
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Cache-Control": "no-store", **headers}.items():
            self.send_header(name, value)
        if body is not None:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    try:
        Application.verifier = Verifier(*(os.environ[name] for name in ("PASSKEY_URL", "PASSKEY_TENANT", "PASSKEY_RP_ID")))
    except KeyError as missing:
        sys.exit(f"{missing} is not set")
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3000"))), Application)
    print(f"listening on http://localhost:{server.server_port}", flush=True)
    server.serve_forever()
