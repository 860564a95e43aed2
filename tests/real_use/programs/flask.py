import flask

a = flask.Flask("x")


@a.get("/")
def f():
    return flask.render_template_string("{{ 1 + 1 }}")


print(a.test_client().get("/").text)
