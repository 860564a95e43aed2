import black

print(black.format_str("x=  1", mode=black.Mode()))
