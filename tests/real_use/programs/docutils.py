import docutils.core

print(docutils.core.publish_string("*x*", writer="html").decode()[-40:])
