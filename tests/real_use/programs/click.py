import click
from click.testing import CliRunner


@click.command()
@click.option("--n", type=int)
def f(n):
    click.echo(n * 2)


print(CliRunner().invoke(f, ["--n", "4"]).output, CliRunner().invoke(f, ["--help"]).output)
