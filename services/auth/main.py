"""The auth service as a process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta

from fastapi import FastAPI

from services.auth.accounts import Accounts
from services.auth.authentication import DatabaseAuthenticator
from services.auth.exchange import TokenExchange
from services.auth.grpc import AuthServicer
from services.auth.http import make_operator_router, make_session_router, make_user_router
from services.auth.passwords import Passwords
from services.auth.revocation_log import RevocationLog
from services.auth.sessions import Sessions
from services.auth.settings import AuthSettings, load_signing_key
from services.auth.signing import TokenIssuer
from services.runtime.boundaries import Boundaries
from services.runtime.grpc_server import GrpcServer
from services.runtime.http import create_app, readiness_of
from services.runtime.lifecycle import run
from services.runtime.postgres import Database
from services.runtime.telemetry import Telemetry
from services.runtime.tokens import TokenVerifier
from services.runtime.workload import WorkloadVerifier
from watertight.auth.v1 import auth_pb2


class AuthProgram:
    """Auth's parts, put together from its settings."""

    websocket_protocol = "none"

    def __init__(self, settings: AuthSettings, telemetry: Telemetry) -> None:
        self._database = Database(
            settings.postgres_url.get_secret_value(), pool_size=settings.postgres_pool_size
        )
        self._revocations = RevocationLog(settings.revocations_postgres_url.get_secret_value())
        self._passwords = Passwords(
            memory_kib=settings.password_memory_kib, iterations=settings.password_iterations
        )
        self._issuer = TokenIssuer(load_signing_key(settings.signing_key.get_secret_value()))
        verifier = TokenVerifier(self._own_keys)
        sessions = Sessions(
            self._database,
            self._passwords,
            self._issuer,
            access_token_life=timedelta(seconds=settings.access_token_seconds),
            session_life=timedelta(seconds=settings.refresh_token_seconds),
        )
        accounts = Accounts(self._database, self._passwords)
        secrets = {
            name: secret.get_secret_value() for name, secret in settings.workload_secrets.items()
        }
        self._exchange = TokenExchange(
            self._database,
            verifier,
            sessions,
            self._issuer,
            audiences=frozenset(secrets),
            life=timedelta(seconds=settings.transaction_token_seconds),
        )
        self.boundaries = Boundaries(
            "auth",
            authenticator=DatabaseAuthenticator(self._database, verifier, sessions),
            workloads=WorkloadVerifier(secrets),
        )
        self.http_app: FastAPI = create_app(
            "auth",
            routers=[
                make_session_router(sessions, self._issuer),
                make_user_router(accounts, sessions),
                make_operator_router(accounts, settings.operator_secret.get_secret_value()),
            ],
            boundaries=self.boundaries,
            telemetry=telemetry,
            readiness=self.readiness,
            description="Tenants, users, sessions and their tokens.",
        )

    async def readiness(self) -> Mapping[str, bool]:
        """Its database answers, under both roles."""
        return await readiness_of(
            postgres=self._database.ping(), revocations=self._revocations.ping()
        )

    def register_grpc(self, server: GrpcServer) -> None:
        """What the other services ask for."""
        descriptor = auth_pb2.DESCRIPTOR.services_by_name["AuthService"]
        server.add_service(
            descriptor, AuthServicer(self._exchange, self._revocations, self._issuer)
        )

    async def start(self) -> None:
        """Starts to prune revocations."""
        await self._revocations.start()

    async def drain(self) -> None:
        """There are no WebSockets."""

    async def stop(self) -> None:
        """Ends tasks, threads and connections."""
        await self._revocations.stop()
        self._passwords.close()
        await self._database.dispose()

    async def _own_keys(self) -> str:
        return json.dumps(self._issuer.jwks)


def main() -> None:
    """Runs the service until a signal ends it."""
    run("auth", AuthSettings, AuthProgram)


if __name__ == "__main__":
    main()
