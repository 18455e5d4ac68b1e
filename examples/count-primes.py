"""Counts the primes up to a limit with the sieve of Eratosthenes: a job that keeps a CPU busy.

Payload: {"limit": 1000000}

The sieve takes one byte for each number, so the limit fits the function's memory limit. Ask for too much and the
answer is an error of type "memory_limit"; take too long and it is "timeout".
"""


def handler(payload, zmesh):
    limit = int(payload.get("limit", 1_000_000))
    if limit < 2:
        return {"limit": limit, "primes": 0, "largest": None}
    sieve = bytearray([1]) * (limit + 1)
    sieve[0] = sieve[1] = 0
    for number in range(2, int(limit**0.5) + 1):
        if sieve[number]:
            start = number * number
            sieve[start::number] = bytes(len(range(start, limit + 1, number)))
    return {"limit": limit, "primes": sum(sieve), "largest": sieve.rindex(1)}
