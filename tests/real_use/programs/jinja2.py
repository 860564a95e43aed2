import jinja2

print(jinja2.Template("{% for x in y %}{{ x|upper }}{% endfor %}").render(y="ab"))
