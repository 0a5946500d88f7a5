"""Modified Bessel functions to the accuracy of the library that WASP 1.0 is built on, for its discrete Gaussian.

I_0 and I_1 by the polynomials of Abramowitz and Stegun (1964), Handbook of Mathematical Functions, 9.8.1 to 9.8.4 (off by
2.2e-7 of sqrt(t) exp(-t) I_n at most); I_n by Miller's downward recurrence, ibid. 9.12, example 1, which begins too low
for large t and small n (5e-4 at n = 2, t = 100). That the program's weights come out bit by bit with these, and not with
exact functions, was found on the parity fixture.
"""

from __future__ import annotations

import math

_SMALL = 3.75
_I0_SMALL = (1.0, 3.5156229, 3.0899424, 1.2067492, 0.2659732, 0.0360768, 0.0045813)
_I0_LARGE = (
    0.39894228, 0.01328592, 0.00225319, -0.00157565, 0.00916281, -0.02057706, 0.02635537, -0.01647633, 0.00392377,
)  # fmt: skip
_I1_SMALL = (0.5, 0.87890594, 0.51498869, 0.15084934, 0.02658733, 0.00301532, 0.00032411)
_I1_LARGE = (
    0.39894228, -0.03988024, -0.00362018, 0.00163801, -0.01031555, 0.02282967, -0.02895312, 0.01787654, -0.00420059,
)  # fmt: skip
_MANY = 40.0  # where the recurrence starts: 2 (n + sqrt(40 n))
_HUGE = 1e10
LARGEST = 700.0  # beyond, exp overflows


def _polynomial(coefficients: tuple[float, ...], x: float) -> float:
    value = 0.0
    for c in reversed(coefficients):
        value = c + x * value
    return value


def _first_two(n: int, t: float) -> float:
    """I_0 or I_1 at ``t`` > 0."""
    if t < _SMALL:
        small = _polynomial(_I1_SMALL if n else _I0_SMALL, (t / _SMALL) ** 2)
        return t * small if n else small
    return math.exp(t) / math.sqrt(t) * _polynomial(_I1_LARGE if n else _I0_LARGE, _SMALL / t)


def scaled_bessel(n: int, t: float) -> float:
    """exp(-t) I_n(t), for ``n`` >= 0 and 0 < ``t`` < `LARGEST`."""
    if n < 2:
        return math.exp(-t) * _first_two(n, t)
    above, here, wanted = 0.0, 1.0, 0.0
    for k in range(2 * (n + int(math.sqrt(_MANY * n))), 0, -1):
        above, here = here, above + k * (2.0 / t) * here
        if abs(here) > _HUGE:
            above, here, wanted = above / _HUGE, here / _HUGE, wanted / _HUGE
        if k == n:
            wanted = above
    return math.exp(-t) * wanted * _first_two(0, t) / here
