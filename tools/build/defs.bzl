"""What BUILD files load. The rules themselves are in private/.

py_library, py_binary and py_test are loaded from here by every BUILD file, so that a move to
rules_python, which Bazel 8 needs, is one edit.
"""

load("//tools/build:rooms.bzl", _room_visibility = "room_visibility")
load("//tools/build/private:buf.bzl", _buf_lint_test = "buf_lint_test")
load("//tools/build/private:postgres.bzl", _postgres_cluster = "postgres_cluster")
load(
    "//tools/build/private:proto.bzl",
    _proto_refusal = "proto_refusal",
    _py_proto_library = "py_proto_library",
)
load("//tools/build/private:pytest.bzl", _pytest_test = "pytest_test")
load("//tools/build/private:quality.bzl", _quality = "quality")

buf_lint_test = _buf_lint_test
postgres_cluster = _postgres_cluster
proto_refusal = _proto_refusal
py_binary = native.py_binary
py_library = native.py_library
py_proto_library = _py_proto_library
py_test = native.py_test
pytest_test = _pytest_test
quality = _quality
room_visibility = _room_visibility
