"""The test targets of the workspace, as `bazel query --output=xml` describes them."""

from __future__ import annotations

import ast
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.test_runner.categories import Category, category_of

QUERY: Final = 'kind("_test rule", //...)'
"""What Bazel is asked for. Test suites are no tests of their own."""

TEST_FILE_SUFFIX: Final = "_test.py"
"""What pytest_test (tools/build/private/pytest.bzl) runs of a target's `srcs`."""


@dataclass(frozen=True, slots=True)
class TestTarget:
    """One test target."""

    __test__ = False  # for pytest, which collects classes by such names

    label: str
    category: Category
    manual: bool
    """Whether Bazel's wildcards leave it out."""
    files: tuple[str, ...]
    """The files of tests that pytest runs in it, by their paths in the workspace; none where the
    target is a program that is a test as a whole."""


def read_targets(query_output: bytes) -> tuple[TestTarget, ...]:
    """The test targets in the output of a query, by label.

    Raises:
        NoCategory: one of them is of none.
    """
    tree = ET.fromstring(query_output)  # noqa: S314 - Bazel's own output
    found = [_target(rule) for rule in tree.iter("rule")]
    return tuple(sorted(found, key=lambda target: target.label))


def _target(rule: ET.Element) -> TestTarget:
    label = rule.attrib["name"]
    package = label.removeprefix("//").partition(":")[0]
    tags = [tag.attrib["value"] for tag in rule.findall("list[@name='tags']/string")]
    sources = [source.attrib["value"] for source in rule.findall("list[@name='srcs']/label")]
    return TestTarget(
        label=label,
        category=category_of(package, tags),
        manual="manual" in tags,
        files=tuple(_path(source) for source in sources if source.endswith(TEST_FILE_SUFFIX)),
    )


def _path(label: str) -> str:
    return label.removeprefix("//").replace(":", "/").removeprefix("/")


def markers_in(file: Path) -> frozenset[str]:
    """The names of pytest's markers that a file of tests speaks of: `pytest.mark.NAME`.

    The file itself is read, so that no list of marked files has to be kept. A marker that a
    conftest.py adds is not seen.
    """
    return frozenset(_marks(ast.parse(file.read_text(encoding="utf-8"))))


def _marks(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Attribute(attr="mark"), attr=marker):
                yield marker
