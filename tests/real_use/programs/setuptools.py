import setuptools, pathlib, os
from setuptools import find_packages
from setuptools.dist import Distribution

pathlib.Path("p").mkdir(exist_ok=True)
pathlib.Path("p/__init__.py").touch()
print("p" in find_packages("."))
print(Distribution({"name": "x", "version": "1"}).get_fullname())
