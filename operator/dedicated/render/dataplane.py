"""What an installation decides about its gateway's data plane; Envoy's configuration is rendered from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plane:
    """What an installation decides about its data plane."""

    run_dir: str
    port: int = 8080
    max_body_bytes: int = 8 << 20
    max_upload_bytes: int = 64 << 20
    max_connections: int = 20_000
    max_heap_bytes: int = 1 << 30
    tls_dir: str | None = None
    trusted_hops: int = 0
    cors_origins: tuple[str, ...] = ()
    model_lua: str = ""
    errors_lua: str = ""

    @property
    def checks(self) -> str:
        """Socket on which the decision service answers checks."""
        return f"{self.run_dir}/checks.sock"

    @property
    def decisions(self) -> str:
        """Socket on which it answers what callers ask of the gateway itself."""
        return f"{self.run_dir}/decisions.sock"

    @property
    def admin(self) -> str:
        """Socket of Envoy's own administration."""
        return f"{self.run_dir}/envoy-admin.sock"

    @property
    def log(self) -> str:
        """The access log that the decision service reads."""
        return f"{self.run_dir}/access.log"

    @property
    def certificates(self) -> str:
        """The file that tells Envoy where the certificate is."""
        return f"{self.run_dir}/certificate.json"
