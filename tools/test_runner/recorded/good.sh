#!/usr/bin/env bash
# One case that passes and one that is skipped in each shard, and metrics of the first shard.
set -euo pipefail
touch "$TEST_SHARD_STATUS_FILE"
cat >"$XML_OUTPUT_FILE" <<XML
<testsuites><testsuite><properties><property name="deselected" value="2"/></properties>
<testcase name="a"/><testcase name="b"><skipped/></testcase></testsuite></testsuites>
XML
[[ $TEST_SHARD_INDEX != 0 ]] || cat >"$TEST_UNDECLARED_OUTPUTS_DIR/metrics.json" <<JSON
{"good_test.py::test_a[1-x]": [{"name": "factor", "value": 1.25, "unit": ""},
                               {"name": "latency", "value": 12, "unit": "ms"}]}
JSON
