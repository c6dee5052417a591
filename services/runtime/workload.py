"""Workload tokens: how a service says to auth which service it is, for itself and no user.

A JWT under a secret that only the two share (HS256, RFC 7518, section 3.2), valid for at most a
minute.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from services.runtime.errors import Unauthenticated
from services.runtime.tokens import require_text, require_times

WORKLOAD_TYPE: Final = "workload+jwt"
WORKLOAD_AUDIENCE: Final = "auth"
WORKLOAD_TOKEN_SECONDS: Final = 30
MAXIMUM_WORKLOAD_TOKEN_SECONDS: Final = 60
_ALGORITHMS: Final = ["HS256"]
_COMPACT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)


def make_workload_token(workload: str, secret: str, now: datetime) -> str:
    """A token that says who calls, for the next 30 s."""
    issued = int(now.timestamp())
    return jwt.encode(
        {"alg": _ALGORITHMS[0], "typ": WORKLOAD_TYPE},
        {
            "iss": workload,
            "aud": WORKLOAD_AUDIENCE,
            "iat": issued,
            "exp": issued + WORKLOAD_TOKEN_SECONDS,
            "jti": uuid.uuid4().hex,
        },
        OctKey.import_key(secret),
        algorithms=_ALGORITHMS,
    )


class WorkloadVerifier:
    """Knows the services that may call, each by a secret of its own."""

    def __init__(
        self, secrets: Mapping[str, str], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._keys = {name: OctKey.import_key(secret) for name, secret in secrets.items()}
        self._clock = clock

    def verify(self, token: str) -> str:
        """The name of the service that this token proves.

        Raises:
            Unauthenticated: it is not valid, lasts longer than a minute, or names nobody known.
        """
        if _COMPACT.fullmatch(token) is None:
            raise Unauthenticated
        try:
            unverified = jws.extract_compact(token.encode())
            header = unverified.headers()
            if header.get("typ") != WORKLOAD_TYPE or header.get("alg") not in _ALGORITHMS:
                raise Unauthenticated
            # The claimed name chooses the key; only that service's key can have signed it.
            name = require_text(_object(unverified.payload), "iss")
            if (key := self._keys.get(name)) is None:
                raise Unauthenticated
            claims = jwt.decode(token, key, algorithms=_ALGORITHMS).claims
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise Unauthenticated from error
        require_times(claims, self._clock())
        lasts = claims["exp"] - claims["iat"]
        if claims.get("aud") != WORKLOAD_AUDIENCE or lasts > MAXIMUM_WORKLOAD_TOKEN_SECONDS:
            raise Unauthenticated
        return name


def _object(payload: bytes) -> Mapping[str, object]:
    value = json.loads(payload)
    if not isinstance(value, dict):
        raise Unauthenticated
    return value
