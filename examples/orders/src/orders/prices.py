"""What an order costs, in cents."""

from __future__ import annotations

MOST = 1000
_REBATE = ((100, 10), (10, 5))


def total(price: int, quantity: int) -> int:
    """The price of so many, less what buyers of many are let off: 5 % from 10 on, 10 % from 100 on."""
    if not 1 <= quantity <= MOST:
        raise ValueError(f"a quantity is a number from 1 to {MOST}, and not {quantity}")
    percent = next((percent for least, percent in _REBATE if quantity >= least), 0)
    return price * quantity * (100 - percent) // 100
