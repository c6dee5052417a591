"""`tools/bazel run //integration/systems/example -- --leak cache-by-url`: an audit to try out."""

import sys

from integration.audit import SeededLeak, main
from integration.systems.example.adapter import CACHE_LEAK, open_notebook

LEAKS = (SeededLeak(CACHE_LEAK, "the list of books is cached on its address alone"),)

if __name__ == "__main__":
    sys.exit(
        main(
            sys.argv[1:],
            program="audit-example",
            open_adapter=open_notebook,
            leaks=LEAKS,
            typed="tools/bazel run //integration/systems/example --",
        ),
    )
