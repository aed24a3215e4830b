"""Name every attack, as it is run by default; a new one is a file and a line here."""

from collections.abc import Mapping
from typing import Final

from polarchive.attacks.adam_injection import AdamInjection
from polarchive.attacks.attack import Attack
from polarchive.attacks.blindfold import Blindfold
from polarchive.attacks.blurred import Blurred
from polarchive.attacks.buffers import Counters, Glaring
from polarchive.attacks.concatenation import Concatenation
from polarchive.attacks.cut import Cut
from polarchive.attacks.distillation import Distillation
from polarchive.attacks.edit import Edit
from polarchive.attacks.equivocation import Equivocation
from polarchive.attacks.forging import Forging
from polarchive.attacks.grinding import Grinding
from polarchive.attacks.honest import Honest
from polarchive.attacks.hyper import FarAndBack, Fitted
from polarchive.attacks.infinitesimal import Infinitesimal
from polarchive.attacks.injection import Injection
from polarchive.attacks.intermittent import Intermittent
from polarchive.attacks.inversion import Inversion
from polarchive.attacks.joint_batch import JointBatch
from polarchive.attacks.jump import Jump, Pieces
from polarchive.attacks.ordering import Ordering
from polarchive.attacks.padding import Padding
from polarchive.attacks.paths import Arc, Wander
from polarchive.attacks.pull import Pull
from polarchive.attacks.ranked import RankedInfinitesimal
from polarchive.attacks.resigned import Resigned
from polarchive.attacks.rna import Rna
from polarchive.attacks.shrinking import Shrinking
from polarchive.attacks.splice import Splice
from polarchive.attacks.steering import Steering
from polarchive.attacks.synthesis import Synthesis
from polarchive.attacks.synthetic_start import SyntheticStart
from polarchive.attacks.synthetic_update import SyntheticUpdate
from polarchive.attacks.tuning import Tuning
from polarchive.attacks.turning import Turning
from polarchive.attacks.withheld import Withheld

CATALOGUE: Final[Mapping[str, Attack]] = {
    "honest": Honest(),
    # States on a line, and data to go with them.
    "infinitesimal": Infinitesimal(),
    "infinitesimal on an arc": Infinitesimal(path=Arc()),
    "infinitesimal at random": Infinitesimal(path=Wander()),
    "infinitesimal from a ranked start": RankedInfinitesimal(),
    "intermittent": Intermittent(),
    "blindfold": Blindfold(),
    "zhang 1": SyntheticUpdate(),
    "zhang 2": SyntheticStart(),
    "zhang 3": JointBatch(),
    # Training that is led, or pretended.
    "inversion": Inversion(),
    "concatenation": Concatenation(),
    "pull": Pull(),
    "ordering": Ordering(),
    "ordering with a jump": Ordering(jump=True),
    "synthesis": Synthesis(),
    "synthesis with a jump": Synthesis(jump=True),
    "rna": Rna(),
    "forging": Forging(),
    "steering": Steering(by_tensor=False),
    "steering by tensor": Steering(share=0.8),
    "steering with a jump": Steering(by_tensor=False, lands=True),
    "single jump": Jump(),
    "jump in pieces": Pieces(),
    "padding": Padding(),
    # What the optimizer keeps, settings and counters.
    "injection": Injection(),
    "single injection": Injection(pieces=1),
    "moment injection": AdamInjection(),
    "fitted settings": Fitted(),
    "fitted rates": Fitted(bounded=True),
    "far and back": FarAndBack(),
    "turned momentum": Turning(),
    "shrunk weights": Shrinking(trained=2),
    "counters": Counters(),
    "glaring records": Glaring(),
    # The victim's own proof, and the judge's challenge.
    "replay": Resigned(),
    "blurred replay": Blurred(),
    "splice": Splice(),
    "cut": Cut(),
    "edit": Edit(),
    "equivocation": Equivocation(),
    "going dark": Withheld(),
    "grinding": Grinding(),
    # Other models that do the same.
    "distillation": Distillation(),
    "tuning": Tuning(),
}
