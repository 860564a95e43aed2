import joblib, math

if __name__ == "__main__":
    print(joblib.Parallel(n_jobs=2)(joblib.delayed(math.sqrt)(i) for i in (4, 9)))
