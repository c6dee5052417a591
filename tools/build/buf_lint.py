"""Runs `buf lint` on the .proto files that lie in a test's runfiles: buf_lint.py BUF BUF_YAML."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile


def main(buf: str, configuration: str) -> int:
    """Lints the module at the configuration's folder, and gives buf's exit code."""
    root = pathlib.Path(configuration).parent
    protos = sorted(root.rglob("*.proto"))
    if not protos:
        print(f"no .proto file below {root}: nothing was checked", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        # A copy: in runfiles the sources are links, and the virtual roots' copies lie beside them.
        module = pathlib.Path(folder, "module")
        for proto in protos:
            target = module / proto.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(proto, target)
        shutil.copyfile(configuration, module / "buf.yaml")
        command = [str(pathlib.Path(buf).resolve()), "lint", "--timeout=50s", str(module)]
        environment = {**os.environ, "HOME": folder, "XDG_CACHE_HOME": folder}
        code = subprocess.run(command, env=environment, timeout=55, check=False).returncode
    print(f"buf lint: {len(protos)} files, exit code {code}")
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
