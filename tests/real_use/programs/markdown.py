import markdown

print(markdown.markdown("# x\n\n|a|\n|-|\n|b|", extensions=["tables", "fenced_code"]))
