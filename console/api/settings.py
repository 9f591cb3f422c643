"""Settings of the API and of single sign-on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from console.api.roles import Role
from console.loopback import is_loopback
from sightline.errors import SettingsError
from sightline.settings import MAX_MESSAGE_BYTES, Section, run_folder


class ApiSettings(Section):
    """How the API listens, and what it bounds."""

    section: ClassVar[str] = "api"

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8765
    folder: Path = Field(default_factory=lambda: run_folder() / "console")
    """Users, keys, sessions and the audit trail; readable by the owner alone."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    behind_proxy: bool = False
    """Whether a proxy in front encrypts, and its `X-Forwarded-For` and `-Proto` are believed."""
    session_hours: Annotated[float, Field(gt=0, le=24 * 30)] = 12.0
    login_attempts: Annotated[int, Field(ge=1)] = 5
    """Tries a minute for one name from one address; an address has four times as many for all names."""
    requests_a_minute: Annotated[int, Field(ge=1)] = 6000
    """For one user or key."""
    max_image_bytes: Annotated[int, Field(ge=1024, le=MAX_MESSAGE_BYTES)] = MAX_MESSAGE_BYTES
    loaded_detectors: Annotated[int, Field(ge=1, le=100)] = 4
    """Versions that `/v1/inspect` keeps in memory; the one that was asked least recently goes."""
    threads: Annotated[int, Field(ge=1, le=256)] = 2
    """Threads of one call of the runtime."""

    @property
    def encrypted(self) -> bool:
        """Whether browsers reach this by HTTPS."""
        return self.tls_certificate is not None or self.behind_proxy

    def check(self) -> None:
        """Raises SettingsError where passwords and keys would cross a network in clear."""
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise SettingsError("[api] tls_certificate and tls_key belong together; set both or neither")
        if not is_loopback(self.host) and not self.encrypted:
            raise SettingsError(
                f"[api] host = {self.host!r} is reached from other machines, and passwords would cross the network in "
                "clear; set tls_certificate and tls_key, or behind_proxy = true where a proxy in front encrypts"
            )


class OidcSettings(Section):
    """Single sign-on by OpenID Connect (code flow with PKCE); off without an issuer."""

    section: ClassVar[str] = "oidc"

    issuer: str | None = None
    """Its `/.well-known/openid-configuration` is read."""
    client_id: str = "sightline"
    client_secret: SecretStr | None = None
    redirect_uri: str | None = None
    """Address of `/v1/oidc/callback` as browsers see it."""
    role_claim: str = "groups"
    roles: dict[str, Role] = Field(default_factory=dict)
    """Value of the claim to role; who has none of them may not come in."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.issuer and not self.redirect_uri:
            raise ValueError("redirect_uri is needed too, such as https://HOST/v1/oidc/callback")
        address = urlsplit(self.issuer or "")
        if address.scheme == "http" and not is_loopback(address.hostname or ""):
            raise ValueError("issuer must be https: its tokens would cross the network in clear")
        return self
