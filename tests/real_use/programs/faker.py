import faker

f = faker.Faker("de_DE")
f.seed_instance(1)
print(f.name(), f.address().count(chr(10)))
