import pathlib

import pytest

pathlib.Path("test_a.py").write_text("def test_a():\n    x = 1\n    assert x == 2\n")


class Show:
    def pytest_runtest_logreport(self, report):
        if report.failed:
            print(report.longreprtext)


print(int(pytest.main(["-p", "no:cacheprovider", "-p", "no:terminalreporter", "test_a.py"], plugins=[Show()])))
