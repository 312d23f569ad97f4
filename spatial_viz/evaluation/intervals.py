"""How sure a share is."""

from __future__ import annotations

import math


def wilson(correct: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson interval of a share, 95 % by default: (low, high).

    >>> [round(end, 3) for end in wilson(624, 1000)]
    [0.594, 0.653]

    Source: Wilson, *Probable inference*, 1927; the interval stays within 0 to 1 and holds for shares near either.
    """
    if count < 1:
        return 0.0, 1.0
    share = correct / count
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return tuple(max(0.0, min(1.0, (centre + sign * spread) / (1 + z * z / count))) for sign in (-1, 1))  # type: ignore[return-value]
