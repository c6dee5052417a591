"""Every package with Python or protobuf sources, for the checks that cover all of them.

A BUILD file ends with `quality()` and its package is named here, or the inventory test fails.
"""

PACKAGES = [
    "contracts/context",
    "contracts/proto/watertight/analytics/v1",
    "contracts/proto/watertight/auth/v1",
    "contracts/proto/watertight/backend/v1",
    "contracts/proto/watertight/context/v1",
    "contracts/proto/watertight/events/v1",
    "integration",
    "integration/audit",
    "integration/clients",
    "integration/environment",
    "integration/fixtures",
    "integration/isolation",
    "integration/leaks",
    "integration/performance",
    "integration/propagation",
    "integration/resilience",
    "integration/security",
    "integration/systems/example",
    "integration/systems/watertight",
    "services/analytics",
    "services/auth",
    "services/backend",
    "services/runtime",
    "tools/build",
    "tools/build/checks",
    "tools/build/private",
    "tools/build/tests",
    "tools/datastores",
    "tools/local",
    "tools/processes",
    "tools/test_runner",
]

def sources():
    """Returns the labels of all packages' `:python_sources`."""
    return ["//%s:python_sources" % package for package in PACKAGES]
