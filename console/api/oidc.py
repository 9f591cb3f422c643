"""Single sign-on: OpenID Connect's code flow with PKCE, state and nonce, by Authlib and joserfc."""

from __future__ import annotations

import hmac
import threading
from http import HTTPStatus
from typing import Any, NamedTuple

from itsdangerous import BadSignature, URLSafeTimedSerializer

from console.api.problems import Problem
from console.api.roles import Role
from console.api.settings import OidcSettings

COOKIE = "sightline_sign_on"
MINUTES = 10
"""How long someone may take at the provider's page."""

_SECONDS = 10.0
_ALGORITHMS = ["RS256", "ES256", "PS256", "EdDSA"]


class Identity(NamedTuple):
    """Who the provider says this is, and the role that the settings give."""

    name: str
    role: Role


class SignOn:
    """One provider; its metadata is fetched when it is first needed."""

    def __init__(self, settings: OidcSettings, secret: str) -> None:
        self._settings = settings
        self._signer = URLSafeTimedSerializer(secret, salt="sightline.sign-on")
        self._lock = threading.Lock()
        self._metadata: dict[str, Any] | None = None

    def begin(self) -> tuple[str, str]:
        """Where to send the browser, and the value of the cookie that it must bring back."""
        from authlib.common.security import generate_token

        verifier, nonce = generate_token(64), generate_token(32)
        with self._session() as session:
            url, state = session.create_authorization_url(
                self._provider()["authorization_endpoint"], code_verifier=verifier, nonce=nonce
            )
        return str(url), str(self._signer.dumps([state, verifier, nonce]))

    def finish(self, url: str, state: str, cookie: str) -> Identity:
        """Who came back to `url`; raises Problem 401 or 403 when that cannot be trusted or has no role here."""
        from authlib.common.errors import AuthlibBaseError
        from requests import RequestException

        try:
            expected, verifier, nonce = self._signer.loads(cookie, max_age=MINUTES * 60)
        except (BadSignature, ValueError):
            raise _refused("the sign-on took too long or was begun in another browser; begin again") from None
        if not hmac.compare_digest(str(expected).encode(), state.encode()):
            raise _refused("the answer belongs to another sign-on; begin again")
        try:
            with self._session() as session:
                token = session.fetch_token(
                    self._provider()["token_endpoint"],
                    authorization_response=url,
                    code_verifier=verifier,
                    timeout=_SECONDS,
                )
        except (AuthlibBaseError, RequestException) as error:
            raise _refused(f"the provider did not confirm it ({type(error).__name__})") from error
        return self._identity(self._claims(str(token.get("id_token")), nonce))

    def _claims(self, id_token: str, nonce: str) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        try:
            keys = KeySet.import_key_set(self._get(self._provider()["jwks_uri"]))
            token = jwt.decode(id_token, keys, algorithms=_ALGORITHMS)
            jwt.JWTClaimsRegistry(
                leeway=60,
                iss={"essential": True, "value": str(self._settings.issuer)},
                aud={"essential": True, "value": self._settings.client_id},
                exp={"essential": True},
                nonce={"essential": True, "value": nonce},
                sub={"essential": True},
            ).validate(token.claims)
        except (JoseError, ValueError) as error:
            raise _refused(f"the provider's token is not to be trusted ({type(error).__name__})") from error
        return dict(token.claims)

    def _identity(self, claims: dict[str, Any]) -> Identity:
        given = claims.get(self._settings.role_claim)
        values = given if isinstance(given, list) else [given]
        roles = [role for value, role in self._settings.roles.items() if value in values]
        name = str(claims.get("preferred_username") or claims.get("email") or claims["sub"])
        if not roles:
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "no-role",
                f"{name} is known, and has none of the values of {self._settings.role_claim!r} that give a role here; "
                "ask an admin",
            )
        return Identity(name, max(roles, key=list(Role).index))

    def _session(self) -> Any:
        from authlib.integrations.requests_client import OAuth2Session

        secret = self._settings.client_secret
        return OAuth2Session(
            self._settings.client_id,
            secret.get_secret_value() if secret else None,
            scope="openid profile email",
            redirect_uri=self._settings.redirect_uri,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
        )

    def _provider(self) -> dict[str, Any]:
        with self._lock:
            if self._metadata is None:
                issuer = str(self._settings.issuer)
                found = self._get(issuer.rstrip("/") + "/.well-known/openid-configuration")
                if found.get("issuer") != issuer:
                    raise _away(f"it calls itself {found.get('issuer')!r}, [oidc] issuer is {issuer!r}")
                self._metadata = found
            return self._metadata

    @staticmethod
    def _get(url: str) -> Any:
        import requests

        try:
            answer = requests.get(url, timeout=_SECONDS)
            answer.raise_for_status()
            return answer.json()
        except (requests.RequestException, ValueError) as error:
            raise _away(f"{url}: {type(error).__name__}") from error


def _refused(why: str) -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, "sign-on", why)


def _away(why: str) -> Problem:
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "sign-on-provider", f"the provider cannot be asked: {why}")
