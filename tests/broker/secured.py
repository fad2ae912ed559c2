"""The listeners of a test broker that let nobody in without TLS: one asks for a password, the other for a certificate."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

USERNAME: Final = "parcelwatch"
_SCRAM: Final = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
_PLAIN: Final = "org.apache.kafka.common.security.plain.PlainLoginModule required user_{}='{}';"


class Secured:
    """Certificates, a password, and what makes a broker ask for them.

    Attributes:
        sasl_bootstrap: Where to connect with TLS and a password, SCRAM-SHA-512 or PLAIN.
        tls_bootstrap: Where to connect with TLS and a certificate.
        ca: The certificate that the broker's is signed by.
        certificate: A client's certificate. `key` is its private key.
        stranger: The certificate of another authority, which has signed nothing here.
    """

    def __init__(self, folder: Path, sasl_port: int, tls_port: int) -> None:
        self.sasl_bootstrap, self.tls_bootstrap = f"127.0.0.1:{sasl_port}", f"127.0.0.1:{tls_port}"
        self.password = secrets.token_hex(8)
        self.ca, self.stranger = folder / "ca.pem", folder / "stranger.pem"
        self.certificate, self.key = folder / "client.pem", folder / "client.key"
        self._broker = folder / "broker.pem"
        folder.mkdir()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca))
        trustme.CA().cert_pem.write_to_path(str(self.stranger))
        client, broker = authority.issue_cert("client.test"), authority.issue_cert("127.0.0.1")
        client.cert_chain_pems[0].write_to_path(str(self.certificate))
        client.private_key_pem.write_to_path(str(self.key))
        # Kafka reads no other form of a private key.
        key = load_pem_private_key(broker.private_key_pem.bytes(), None)
        pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self._broker.write_bytes(pkcs8 + broker.cert_chain_pems[0].bytes())

    def settings(self) -> Mapping[str, str]:
        """What to add to a broker's settings."""
        scram, plain = "listener.name.sasl.scram-sha-512", "listener.name.sasl.plain"
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._broker),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.ca),
            "listener.name.tls.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
            f"{scram}.sasl.jaas.config": _SCRAM,
            f"{plain}.sasl.jaas.config": _PLAIN.format(USERNAME, self.password),
        }

    def users(self) -> list[str]:
        """What to tell the tool that formats the broker's storage: who may log in by SCRAM."""
        return ["--add-scram", f"SCRAM-SHA-512=[name={USERNAME},password={self.password}]"]
