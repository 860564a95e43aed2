import attr, attrs


@attrs.define
class A:
    x: int = attrs.field(validator=attrs.validators.instance_of(int))


print(A(1), attr.asdict(A(2)))
