"""The backend with one seeded leak: `backend_with NAME`."""

from integration.leaks import cache_key, database_scope, log_context, websocket_routing
from integration.leaks.launching import launch
from services.backend.main import NAME, BackendProgram
from services.backend.settings import BackendSettings
from services.runtime.lifecycle import run

if __name__ == "__main__":
    launch(
        {
            "database-scope": database_scope.install,
            "cache-key": cache_key.install,
            "websocket-routing": websocket_routing.install,
            "log-context": log_context.install,
        },
        lambda: run(NAME, BackendSettings, BackendProgram),
    )
