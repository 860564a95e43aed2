import numpy as n

print(n.linalg.inv(n.eye(2) * 2), n.random.default_rng(1).integers(9), n.get_include()[-7:])
