import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as p, io

b = io.BytesIO()
p.plot([1, 2])
p.title("x")
p.savefig(b)
print(b.getvalue()[:4])
