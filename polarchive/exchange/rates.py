"""Bound how often someone may ask: a bucket of tokens that fills again with time."""

from collections.abc import Callable
from threading import Lock
from time import monotonic


class Rate:
    """Allow `burst` requests at once and `rate` per second from then on."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = monotonic) -> None:
        """Begin with a full bucket."""
        self._rate, self._burst, self._clock = rate, burst, clock
        self._tokens, self._last = burst, clock()
        self._lock = Lock()

    def allows(self) -> bool:
        """Take a token, if there is one."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._last) * self._rate)
            self._last = now
            allowed = self._tokens >= 1
            self._tokens -= allowed
            return allowed
