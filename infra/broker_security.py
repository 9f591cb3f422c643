"""The embedded broker with TLS, users and rights: its certificates, its properties, and who may connect.

Two listeners, both encrypted: one for users with passwords (SCRAM), one for client certificates. A broker and its
controller know each other by certificate. Each role of `sightline.kafka_roles` has a user of its own name, with a
password and a certificate in `security/ROLE`; what no rule allows is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from infra.certificates import Authority, Identity
from infra.kafka_users import password_in, set_passwords
from sightline.settings import KafkaRole, KafkaSettings

ROLES: tuple[KafkaRole, ...] = get_args(KafkaRole)
_BROKER = "sightline-broker"


class BrokerSecurity:
    """Keys, certificates and passwords of one embedded broker, in `folder`; made where they are missing."""

    def __init__(self, folder: Path, host: str) -> None:
        self._folder = folder
        self._host = host
        self._authority = Authority(folder)
        self._identities: dict[str, Identity] = {}

    def prepare(self) -> None:
        """Make what is missing or about to end."""
        self._authority.ensure()
        # a client on this machine may call a broker on loopback by either name
        local = ("localhost", "127.0.0.1") if self._host in ("localhost", "127.0.0.1") else ()
        hosts = tuple(dict.fromkeys((self._host, *local)))
        self._identities[_BROKER] = self._authority.issue(self._folder / _BROKER, _BROKER, hosts)
        for role in ROLES:
            self._identities[role] = self._authority.issue(self._folder / role, role)

    def properties(self) -> Mapping[str, Any]:
        """What `server.properties` has beyond an open broker's; it names files, and holds no secret."""
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        return {
            "inter.broker.listener.name": "CERTIFICATES",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self._identities[_BROKER].both,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self._authority.certificate_file,
            "ssl.principal.mapping.rules": r"RULE:^CN=([a-zA-Z0-9._-]+)$/$1/,DEFAULT",
            "listener.name.certificates.ssl.client.auth": "required",
            "listener.name.controller.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,SCRAM-SHA-256",
            "listener.name.clients.scram-sha-512.sasl.jaas.config": scram,
            "listener.name.clients.scram-sha-256.sasl.jaas.config": scram,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": f"User:{_BROKER};User:admin",
        }

    def endpoint(self) -> dict[str, Any]:
        """The `[kafka]` keys of clients with passwords, beside `bootstrap`."""
        roles = {role: {"sasl_username": role, "sasl_password_file": str(self._password_file(role))} for role in ROLES}
        return {"security_protocol": "SASL_SSL", "ca_file": str(self._authority.certificate_file), "roles": roles}

    def certified(self, role: KafkaRole, bootstrap: str) -> KafkaSettings:
        """How `role` connects by its certificate, to the listener for those."""
        identity = self._identities[role]
        return KafkaSettings.model_construct(
            bootstrap=bootstrap,
            security_protocol="SSL",
            ca_file=self._authority.certificate_file,
            client_certificate=identity.certificate,
            client_key=identity.key,
            role=role,
            roles={},
        )

    def create_users(self, admin: KafkaSettings) -> None:
        """Give every role its password; raises BrokerError when the broker does not take them."""
        set_passwords(admin, {role: password_in(self._password_file(role)) for role in ROLES})

    def _password_file(self, role: str) -> Path:
        return self._folder / role / "password"
