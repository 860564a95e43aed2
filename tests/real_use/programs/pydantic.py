import pydantic


class M(pydantic.BaseModel):
    a: int


print(M(a="3"), M.model_json_schema()["title"])
