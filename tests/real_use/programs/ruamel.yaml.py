import ruamel.yaml, io, sys

y = ruamel.yaml.YAML()
y.dump(y.load("a: 1 # c"), sys.stdout)
