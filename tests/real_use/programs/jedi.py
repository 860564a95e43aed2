import jedi

print([c.name for c in jedi.Script("import os.pa").complete(1, 12)][:2])
