from tools.build.lcov_merger import lcov, merged

ONE = "SF:a.py\nDA:1,1\nDA:2,0\nend_of_record\n"
OTHER = "SF:a.py\nDA:2,3,checksum\nend_of_record\nSF:b.py\nDA:9,0\nend_of_record\n"


def test_counts_of_one_line_add_up() -> None:
    """Two tests' hits of a line are added, and a line that neither ran stays 0."""
    assert {"a.py": {1: 1, 2: 3}, "b.py": {9: 0}} == merged([ONE, OTHER])


def test_the_report_counts_lines_found_and_hit() -> None:
    """The merged report is lcov again."""
    assert list(lcov(merged([ONE]))) == [
        "SF:a.py",
        "DA:1,1",
        "DA:2,0",
        "LF:2",
        "LH:1",
        "end_of_record",
    ]
