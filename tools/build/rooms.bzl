"""Who may import whom: one table, for Bazel's visibility and for the test that reads imports.

A room is a folder; a file belongs to the longest room that its path begins with.
"""

_CONTRACTS = ["contracts/context", "contracts/proto"]
_TOOLS = ["tools/datastores", "tools/local", "tools/processes"]
_SERVICE = _CONTRACTS + ["services/runtime"]
_SUITE = _CONTRACTS + _TOOLS + [
    "contracts/verification",
    "integration/audit",
    "integration/clients",
    "integration/environment",
    "integration/faults",
    "integration/fixtures",
    "integration/systems",
    "services/runtime",
]

# Room -> the rooms that its files may import, beside itself.
ROOMS = {
    "contracts/context": ["contracts/proto"],
    "contracts/pacts": [],
    "contracts/proto": [],
    "contracts/verification": _CONTRACTS,
    # It names the seeded leaks, which are data; what they are made of only their programs import.
    "integration": _SUITE + ["integration/leaks"],
    "integration/audit": [],
    "integration/clients": _CONTRACTS,
    "integration/contract_gate": _SUITE,
    "integration/environment": _CONTRACTS + _TOOLS,
    "integration/faults": ["integration/environment"],
    # What a test is given: the running system, people in it, and the store of sessions itself. The
    # seeded leaks' names let a suite show that it goes red.
    "integration/fixtures": _CONTRACTS + _TOOLS + [
        "integration/clients",
        "integration/environment",
        "integration/leaks",
        "services/runtime",
    ],
    # What contexts cost at once is measured in one way, by the benchmarks and by the one timed test.
    "integration/isolation": _SUITE + ["integration/performance"],
    # A seeded leak replaces a piece of a service from outside, in that service's process.
    "integration/leaks": _SERVICE + ["services/analytics", "services/auth", "services/backend"],
    "integration/performance": _SUITE,
    "integration/propagation": _SUITE,
    "integration/resilience": _SUITE,
    "integration/security": _SUITE,
    # An adapter reads carriers back: keys, entries, identifiers.
    "integration/systems": _CONTRACTS + [
        "integration/audit",
        "integration/clients",
        "integration/environment",
    ],
    "services/analytics": _SERVICE,
    "services/auth": _SERVICE,
    "services/backend": _SERVICE,
    "services/runtime": _CONTRACTS,
    "tools/build": [],
    "tools/datastores": ["tools/processes"],
    # It starts services, by their files; it imports none.
    "tools/local": ["tools/datastores", "tools/processes"],
    "tools/processes": [],
    "tools/test_runner": ["tools/build"],
}

# What tests, and programs that run one service on a developer's machine, may import besides.
TEST_TOOLS = _TOOLS

def room_of(package):
    """Returns the room that a package belongs to, or None: the longest one that it begins with."""
    best = None
    for room in ROOMS:
        if (package == room or package.startswith(room + "/")) and (not best or len(room) > len(best)):
            best = room
    return best

def importers(room):
    """Returns the rooms whose files may import a room: itself, by the table, or in tests."""
    if room in TEST_TOOLS:
        return sorted(ROOMS)
    return sorted([other for other, imported in ROOMS.items() if other == room or room in imported])

def room_visibility():
    """Returns the visibility of a library of this package's room: whoever may import that room."""
    room = room_of(native.package_name())
    if not room:
        fail("//%s is in no room of //tools/build:rooms.bzl" % native.package_name())
    return ["//tools/build/visibility:" + room.replace("/", "_")]

def _rooms_table_impl(ctx):
    output = ctx.actions.declare_file(ctx.label.name + ".json")
    table = struct(allowed = struct(**ROOMS), test_tools = TEST_TOOLS)
    ctx.actions.write(output, table.to_json())
    return [DefaultInfo(files = depset([output]), runfiles = ctx.runfiles([output]))]

rooms_table = rule(
    implementation = _rooms_table_impl,
    doc = "The table as JSON, for the test that reads imports.",
)
