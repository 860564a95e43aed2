import tqdm, io

f = io.StringIO()
print(sum(tqdm.tqdm(range(5), file=f)), "100%" in f.getvalue())
