"""Kept-alive HTTP connections to one service, which many principals' clients may share."""

from __future__ import annotations

import functools
import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final, Self

import httpx
from pydantic import BaseModel, ValidationError

from integration.clients.answers import Answer, Refused, Unanswered, Unexpected

DEFAULT_LIMIT_SECONDS: Final = 10.0


class _Error(BaseModel):
    code: str
    message: str
    request_id: str | None = None


class _ErrorBody(BaseModel):
    error: _Error


class HttpConnections:
    """A pool of connections to one base URL, which remembers nothing between requests, no cookie.

    Principals that share a pool share its connections: a service that ties a user to a connection
    then shows it.

    Args:
        base_url: such as `http://127.0.0.1:8000`.
        limit_seconds: for one whole operation.
        connections: at most so many at a time.
    """

    def __init__(
        self, base_url: str, *, limit_seconds: float = DEFAULT_LIMIT_SECONDS, connections: int = 32
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._client = httpx.AsyncClient(
            base_url=self.base_url,
            timeout=limit_seconds,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            follow_redirects=False,
            trust_env=False,
            verify=_trusted_authorities(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes every connection."""
        await self._client.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: object = None,
        traceparent: str | None = None,
    ) -> Answer:
        """Sends one request; `body` goes as JSON, `token` as Bearer.

        Raises:
            Refused: the service answered with a typed error.
            Unexpected: it answered with a failure that is none.
            Unanswered: no whole answer came in time.
        """
        headers = {"accept": "application/json"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        if traceparent is not None:
            headers["traceparent"] = traceparent
        try:
            response = await self._client.request(method, path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise Unanswered(f"{method} {path}: {error!r}") from error
        answer = Answer(str(response.status_code), response.content, dict(response.headers))
        if not response.is_success:
            raise _failure(answer)
        return answer


def _failure(answer: Answer) -> Refused | Unexpected:
    try:
        error = _ErrorBody.model_validate_json(answer.body).error
    except ValidationError:
        return Unexpected("a typed error", answer)
    return Refused(error.code, error.message, answer)


@functools.cache
def _trusted_authorities() -> ssl.SSLContext:
    """Once for all clients: reading the certificates takes 60 ms, also where all is `http`."""
    return httpx.create_ssl_context(trust_env=False)


class HttpClient:
    """A client over connections of its own, or over shared ones.

    Args:
        service: the service's base URL, or connections to it that somebody else closes.
    """

    def __init__(self, service: str | HttpConnections) -> None:
        self._owned = isinstance(service, str)
        self._connections = HttpConnections(service) if isinstance(service, str) else service

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections that this client made for itself."""
        if self._owned:
            await self._connections.close()
