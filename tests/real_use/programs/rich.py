from rich.console import Console
from rich.table import Table
from rich.markdown import Markdown

t = Table("a")
t.add_row("[b]1")
c = Console(width=30, force_terminal=False)
c.print(t)
c.print(Markdown("# x"))
from rich.syntax import Syntax

c.print(Syntax("x = 1", "python"))
c.print(":smiley: 你")
