"""How the time of every reader of text from elsewhere grows: in proportion to the letters to the power of what?"""

import math
import time

from tests.fuzz.growing import CASES, read

SIZES = (20_000, 40_000, 80_000, 160_000)
ROUNDS = 3
NOISE_S = 0.005  # what takes less says nothing of how it grows


def main() -> None:
    """Print a table: seconds for each size, and the exponent from the smallest that says something to the last."""
    print(f"| reader | {' | '.join(f'{size:,}' for size in SIZES)} | exponent |")
    print("|---|" + "---|" * (len(SIZES) + 1))
    worst = 0.0
    for name in CASES:
        taken = [min(_time(name, size) for _ in range(ROUNDS)) for size in SIZES]
        telling = next((at for at, seconds in enumerate(taken[:-1]) if seconds > NOISE_S), None)
        exponent = ""
        if telling is not None:
            grown = math.log(taken[-1] / taken[telling]) / math.log(SIZES[-1] / SIZES[telling])
            exponent, worst = f"{grown:.2f}", max(worst, grown)
        shown = name.replace("|", "\\|")
        print(f"| {shown} | {' | '.join(f'{seconds:.4f}' for seconds in taken)} | {exponent} |")
    print(f"\nThe largest exponent is {worst:.2f}.")


def _time(name: str, size: int) -> float:
    began_s = time.process_time()
    read(name, size)
    return time.process_time() - began_s
