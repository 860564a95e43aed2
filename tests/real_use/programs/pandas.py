import pandas as p, io

d = p.read_csv(io.StringIO("a,b\n1,2\n3,4"))
print(d.groupby("a").b.sum(), d.to_html()[:20])
