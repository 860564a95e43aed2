import sqlalchemy as s

e = s.create_engine("sqlite://")
with e.connect() as c:
    print(c.execute(s.text("select 1 + 1")).scalar(), s.select(s.literal("x")).compile(e))
