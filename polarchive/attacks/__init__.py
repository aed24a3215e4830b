"""Forge proofs of learning: every known attack, one file each, to see what a judge makes of them.

An attack is a frozen dataclass with one method, which records a run that nobody trained:

    @dataclass(frozen=True, slots=True)
    class Mine(Attack):
        def forge(self, known, trainer, log, challenge=None):
            for step in range(known.steps):
                trainer.claim(weights=…)                  # what the record is to say of the state
                log.record(rows=known.rows(step))          # the data that it is to commit to
            trainer.claim(weights=known.weights)

It never decides whether it succeeded: `polarchive.contest` has judges look at what it made.
"""

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet
from polarchive.attacks.workload import Workload

__all__ = ["Attack", "Known", "Log", "Puppet", "Workload"]
