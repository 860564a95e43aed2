import pytest, pathlib

pathlib.Path("test_a.py").write_text("def test_a():\n    x = 1\n    assert x == 2\n")
print(int(pytest.main(["-q", "-p", "no:cacheprovider", "test_a.py"])))
