"""Name the rules under which a proof is asked for (Fang et al., section VIII)."""

from enum import StrEnum


class Protocol(StrEnum):
    """Say what is bound, and when.

    - PUBLIC: batches must be made of records of the public data set;
    - AT_CHALLENGE: data are shown when the challenge is known, so that they are needed for its segments alone;
    - COMMITTED: all data are committed before the challenge (section VIII-A);
    - STAMPED: committed, and the victim's proof was stamped before (section VIII-B).
    """

    PUBLIC = "public data"
    AT_CHALLENGE = "data at challenge time"
    COMMITTED = "committed first"
    STAMPED = "committed and stamped"
