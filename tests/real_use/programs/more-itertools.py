import more_itertools as m

print(list(m.chunked(range(5), 2)))
