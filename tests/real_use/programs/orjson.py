import orjson

print(orjson.loads(orjson.dumps({"a": [1]})))
