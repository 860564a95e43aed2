from packaging.version import Version as V
from packaging.requirements import Requirement as R

print(V("1.0rc1") < V("1.0"), R('a[b]>=1; python_version>"3"'))
