import jsonschema

try:
    jsonschema.validate(1, {"type": "string"})
except jsonschema.ValidationError as e:
    print(e.message)
