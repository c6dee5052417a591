"""protoc from the grpcio-tools wheel, with the plugins that write type stubs."""

import os
import sys

from grpc_tools import protoc

if __name__ == "__main__":
    sys.exit(protoc.main([os.fspath(argument) for argument in sys.argv]))
