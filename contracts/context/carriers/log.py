"""Log lines and spans: the context's identifiers, never content, never from ambient state."""

from __future__ import annotations

from contracts.context.context import UserExecutionContext

_FIELDS = (
    "tenant_id",
    "user_id",
    "thread_id",
    "run_id",
    "request_id",
    "parent_request_id",
    "websocket_client_id",
)


def log_fields(context: UserExecutionContext) -> dict[str, str | int]:
    """What a log line or a span says of the context; absent identifiers are left out."""
    fields: dict[str, str | int] = {
        name: str(value) for name in _FIELDS if (value := getattr(context, name)) is not None
    }
    fields["operation_depth"] = context.operation_depth
    return fields
