"""The execution context: for whom and where work is done. Pure: no I/O, no clock, no globals."""

from contracts.context.attributes import Attributes
from contracts.context.context import (
    MAXIMUM_OPERATION_DEPTH,
    SESSION_SCOPE,
    UserExecutionContext,
)
from contracts.context.errors import (
    ContextDuplicated,
    ContextError,
    ContextExpired,
    ContextMalformed,
    ContextMissing,
    ContextOversized,
    ContextWidened,
    DepthExceeded,
    InvalidIdentifier,
    ScopeDenied,
    SessionScopeConflict,
)
from contracts.context.identifiers import (
    ClientLabel,
    RequestId,
    RunId,
    SessionId,
    TenantId,
    ThreadId,
    UserId,
)
from contracts.context.keys import scoped_key, short_key
from contracts.context.message import decode, encode, from_message, to_message
from contracts.context.opening import Principal, ThreadState, open_context
from contracts.context.scopes import (
    ADMINISTRATOR_SCOPES,
    MEMBER_SCOPES,
    DataScope,
    Scope,
    ScopeKind,
    parse_scopes,
)

__all__ = [
    "ADMINISTRATOR_SCOPES",
    "MAXIMUM_OPERATION_DEPTH",
    "MEMBER_SCOPES",
    "SESSION_SCOPE",
    "Attributes",
    "ClientLabel",
    "ContextDuplicated",
    "ContextError",
    "ContextExpired",
    "ContextMalformed",
    "ContextMissing",
    "ContextOversized",
    "ContextWidened",
    "DataScope",
    "DepthExceeded",
    "InvalidIdentifier",
    "Principal",
    "RequestId",
    "RunId",
    "Scope",
    "ScopeDenied",
    "ScopeKind",
    "SessionId",
    "SessionScopeConflict",
    "TenantId",
    "ThreadId",
    "ThreadState",
    "UserExecutionContext",
    "UserId",
    "decode",
    "encode",
    "from_message",
    "open_context",
    "parse_scopes",
    "scoped_key",
    "short_key",
    "to_message",
]
