"""Every HTTP route of the running services, and every frame, as their documents declare them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from integration.environment import Environment
from integration.security.inputs import Schemas
from integration.security.sending import http_client

METHODS: Final = ("get", "post", "put", "patch", "delete", "head", "options")


@dataclass(frozen=True)
class Route:
    """One method of one path, as OpenAPI declares it."""

    service: str
    url: str
    path: str
    method: str
    operation: Mapping[str, Any]
    schemas: Schemas

    @property
    def body(self) -> Mapping[str, Any] | None:
        """The schema of the JSON body, where there is one."""
        content = self.operation.get("requestBody", {}).get("content", {})
        schema: Mapping[str, Any] | None = content.get("application/json", {}).get("schema")
        return schema

    @property
    def secured(self) -> bool:
        """Whether it asks for a credential."""
        return bool(self.operation.get("security"))

    def parameters(self, place: str) -> list[Mapping[str, Any]]:
        """The parameters of the path or the query."""
        return [each for each in self.operation.get("parameters", ()) if each["in"] == place]

    def filled_path(self, **values: str) -> str:
        """The path with its parameters filled in."""
        path = self.path
        for parameter in self.parameters("path"):
            name = parameter["name"]
            path = path.replace(f"{{{name}}}", quote(values.get(name, "plain-text"), safe=""))
        return path

    def filled(self, **values: str) -> str:
        """The URL with its path's parameters filled in."""
        return f"{self.url}{self.filled_path(**values)}"

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


async def routes(environment: Environment) -> list[Route]:
    """Every route of every service."""
    found = []
    urls = {
        "auth": environment.auth_url,
        "analytics": environment.analytics_url,
        "backend": environment.backend_url,
    }
    for service, url in urls.items():
        document = await _document(url)
        schemas = Schemas(document)
        found += [
            Route(service, url, path, method, operation, schemas)
            for path, item in document["paths"].items()
            for method, operation in item.items()
            if method in METHODS
        ]
    return found


async def frames(environment: Environment) -> Mapping[str, Any]:
    """The schema of every frame that a client may send, by its type."""
    declared: Mapping[str, Any] = (await _document(environment.backend_url))["x-websocket-frames"]
    return declared


async def _document(url: str) -> Mapping[str, Any]:
    async with http_client(5.0) as client:
        document: Mapping[str, Any] = (await client.get(f"{url}/openapi.json")).json()
    return document
