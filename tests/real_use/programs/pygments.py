import pygments, pygments.lexers as l, pygments.formatters as f, pygments.styles as s

print(pygments.highlight("x = 1", l.get_lexer_by_name("python"), f.HtmlFormatter(style="monokai")))
print(len(list(l.get_all_lexers())) > 400, "monokai" in list(s.get_all_styles()))
