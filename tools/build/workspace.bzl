"""What WORKSPACE loads: the interpreter, the locked packages, and stand-ins for fetched rule sets."""

load("//tools/build/private:offline.bzl", _offline_repositories = "offline_repositories")
load("//tools/build/private:pip.bzl", _pip_repository = "pip_repository")
load("//tools/build/private:python.bzl", _python_repository = "python_repository")

offline_repositories = _offline_repositories
pip_repository = _pip_repository
python_repository = _python_repository
