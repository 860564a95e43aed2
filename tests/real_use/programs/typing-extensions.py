import typing_extensions as t

print(t.get_type_hints(t.TypedDict("D", {"a": int})))
