import sympy as s

x = s.symbols("x")
print(s.integrate(s.sin(x) * s.exp(x), x), s.latex(s.sqrt(x)))
