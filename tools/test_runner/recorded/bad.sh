#!/usr/bin/env bash
# One case that fails and one that passes.
cat >"$XML_OUTPUT_FILE" <<XML
<testsuites><testsuite><testcase name="c"><failure/></testcase><testcase name="d"/></testsuite>
</testsuites>
XML
exit 1
