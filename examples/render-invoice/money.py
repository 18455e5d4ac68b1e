"""Amounts in cents, which add up exactly."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal


@dataclass(frozen=True)
class Money:
    cents: int

    def __add__(self, other):
        return Money(self.cents + other.cents)

    def __mul__(self, quantity):
        return Money(self.cents * quantity)

    def share(self, rate):
        """This part of it, rounded to a cent as tax offices do."""
        return Money(int((self.cents * Decimal(str(rate))).to_integral_value(ROUND_HALF_UP)))

    def __str__(self):
        return f"{self.cents // 100}.{self.cents % 100:02d} €"
