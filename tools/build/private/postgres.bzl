"""A Postgres data directory, prepared once and cached."""

def _postgres_cluster_impl(ctx):
    output = ctx.actions.declare_file(ctx.label.name + ".tar")
    arguments = ctx.actions.args()
    arguments.add("--output", output)
    tools = []
    for target, service in ctx.attr.services.items():
        program = target[DefaultInfo].files_to_run
        arguments.add("--service", "%s=%s" % (service, program.executable.path))
        tools.append(program)
    for role in ctx.attr.roles:
        arguments.add("--role", role)
    ctx.actions.run(
        executable = ctx.executable._prepare,
        arguments = [arguments],
        tools = tools,
        outputs = [output],
        mnemonic = "PostgresCluster",
        progress_message = "Preparing the databases of %s" % ctx.label,
    )
    return [DefaultInfo(files = depset([output]), runfiles = ctx.runfiles([output]))]

_postgres_cluster = rule(
    implementation = _postgres_cluster_impl,
    attrs = {
        "roles": attr.string_list(doc = "Further login roles, each `<service>_<what>`."),
        "services": attr.label_keyed_string_dict(
            doc = "Migration program of each service -> the service's name.",
            cfg = "exec",
        ),
        "_prepare": attr.label(
            default = "//tools/datastores:prepare_cluster",
            executable = True,
            cfg = "exec",
        ),
    },
)

def postgres_cluster(name, services, roles = [], **kwargs):
    """Runs initdb and each service's migrations as a build action, and packs the result.

    The output is `<name>.tar`, which tools/datastores unpacks and starts in under 0.1 s. It changes
    only when a migration, its dependencies or the server's version does. It holds no passwords.

    Args:
      name: of the target.
      services: {"<service>": "<label of the py_binary that migrates its database>"}.
      roles: login roles beside `<service>_service`, for instance `backend_relay`.
      **kwargs: passed to the rule (visibility, tags, testonly).
    """
    _postgres_cluster(
        name = name,
        services = {program: service for service, program in services.items()},
        roles = roles,
        **kwargs
    )
