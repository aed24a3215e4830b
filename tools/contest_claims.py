"""Hold a contest's results to what the paper and this project claim: each claim is computed, none is assumed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from polarchive.attacks.catalogue import CATALOGUE
from polarchive.contest.protocol import Protocol
from polarchive.contest.rows import Match, Row, Spoof

Matches = Mapping[str, Match]
COMMITTED, STAMPED = Protocol.COMMITTED, Protocol.STAMPED
LANDED = 1e-6  # of d_ref
RANKED = "infinitesimal from a ranked start"


@dataclass(frozen=True)
class Claim:
    """Hold a claim, whether the results bear it out, and what they are."""

    says: str
    holds: bool
    found: str


def claims(matches: Matches, top: int) -> Iterator[Claim]:
    """Yield every claim that the attacks that were run say something about."""
    for needed, claim in CLAIMS:
        if all(name in matches for name in needed):
            yield claim(matches, top)


def row(matches: Matches, attack: str, policy: str, protocol: Protocol = COMMITTED) -> Row:
    return next(row for row in matches[attack].rows if (row.policy, row.protocol) == (policy, protocol))


def verdict(matches: Matches, attack: str, policy: str, protocol: Protocol = COMMITTED) -> str:
    found = row(matches, attack, policy, protocol)
    return found.verdict + (f" ({', '.join(found.by)})" if found.by else "")


def spoof(matches: Matches, attack: str) -> Spoof:
    return matches[attack].spoofs[0]


def passes(matches: Matches, attack: str, policy: str) -> bool:
    return row(matches, attack, policy).verdict == "accepted"


def honest_pass(matches: Matches, top: int) -> Claim:
    rows = matches["honest"].rows
    wrong = [f"{each.policy}, {each.protocol}: {each.verdict}" for each in rows if each.verdict != "accepted"]
    found = "; ".join(wrong) or f"{len(rows)} verdicts, all accepted"
    return Claim("honest runs pass every policy under every protocol", not wrong, found)


def infinitesimal_below_synthetic(matches: Matches, top: int) -> Claim:
    """Both start from weights ranked as the victim's are, so that their lines are of one length."""
    ours, theirs = (spoof(matches, name).errors for name in (RANKED, "zhang 2"))
    both = [(ours[index], theirs[index]) for index in ours if index in theirs]
    below = sum(one < other for one, other in both)
    pass_all = all(passes(matches, name, "jia2021_full") for name in ("infinitesimal", RANKED, "zhang 2"))
    found = f"from one ranked start ε of the first is lower in {below} of {len(both)} segments, at most "
    found += f"{max(ours.values()):.3g} and {max(theirs.values()):.3g} d_ref; from a fresh start the first is at "
    found += f"{max(spoof(matches, 'infinitesimal').errors.values()):.3g}; jia2021_full: "
    found += "accepted" if pass_all else "not all accepted"
    says = "infinitesimal updates and attack 2 of Zhang et al. pass jia2021_full, the first with a lower ε everywhere"
    return Claim(f"{says} (section VI-A, Fig. 4)", pass_all and bool(both) and below == len(both), found)


def blindfold_up_to_its_q(matches: Matches, top: int) -> Claim:
    asked = {each.policy: each for each in matches["blindfold"].rows if each.protocol is COMMITTED}
    found = {int(name.removeprefix("topq ")): each for name, each in asked.items() if name.startswith("topq ")}
    right = bool(found) and all((each.verdict == "accepted") == (q <= top) for q, each in found.items())
    told = ", ".join(f"Q' = {q}: {each.verdict}" for q, each in sorted(found.items()))
    return Claim(f"blindfold passes top-Q' for Q' ≤ Q = {top} and fails above (section VI-B, Fig. 5)", right, told)


def fails(name: str, policy: str, says: str) -> Callable[[Matches, int], Claim]:
    return lambda matches, top: Claim(
        says, row(matches, name, policy).verdict == "rejected", verdict(matches, name, policy)
    )


def inversion_costs_training(matches: Matches, top: int) -> Claim:
    ratio = spoof(matches, "inversion").flops / spoof(matches, "honest").flops
    return Claim("sequence inversion costs at least honest training (Jia et al.)", ratio >= 1, f"{ratio:.3g} times")


def zhang_1_does_not_converge(matches: Matches, top: int) -> Claim:
    errors = spoof(matches, "zhang 1").errors
    last = errors[max(errors)]
    found = f"the last segment is {last:.3g} d_ref off, of {spoof(matches, 'honest').lands:.3g} where it began"
    return Claim("attack 1 of Zhang et al. does not converge", last > 0.1, found)


def old_pass_strict_fails(name: str, policies: tuple[str, ...]) -> Callable[[Matches, int], Claim]:
    def claim(matches: Matches, top: int) -> Claim:
        told = ", ".join(f"{policy}: {verdict(matches, name, policy)}" for policy in (*policies, "strict"))
        right = all(passes(matches, name, policy) for policy in policies)
        right = right and row(matches, name, "strict").verdict == "rejected"
        return Claim(f"{name} passes {' and '.join(policies)} and fails strict", right, told)

    return claim


def strict_refuses_theft(matches: Matches, top: int) -> Claim:
    theft = [name for name in matches if name != "honest" and not outside(name) and claims_the_victim(matches, name)]
    passed = [name for name in theft if row(matches, name, "strict").verdict == "accepted"]
    found = f"{len(theft)} spoofs end within {LANDED:g} d_ref of the victim; "
    found += f"accepted: {', '.join(passed)}" if passed else "none is accepted"
    says = "no spoof of SGD that ends in the victim's model by the stated threat model passes strict, committed first"
    return Claim(says, bool(theft) and not passed, found)


def outside(name: str) -> bool:
    """Tell whether an attack is beyond section III: it needs the victim's proof, or ends in another model."""
    known = CATALOGUE.get(name)  # the others need a model's symmetries, and are of these kinds
    return known is None or known.needs_leak or known.function_space


def claims_the_victim(matches: Matches, name: str) -> bool:
    return spoof(matches, name).lands <= LANDED


def replay_fails_when_stamped(matches: Matches, top: int) -> Claim:
    asked = [each for each in matches["replay"].rows if each.protocol in (COMMITTED, STAMPED)]
    right = all((each.verdict == "accepted") == (each.protocol is COMMITTED) for each in asked)
    found = f"strict: {verdict(matches, 'replay', 'strict')}; "
    found += f"stamped: {verdict(matches, 'replay', 'strict', STAMPED)}"
    return Claim("replay of the victim's own proof passes every policy, and fails only when stamped", right, found)


def function_space_passes(matches: Matches, top: int) -> Claim:
    return Claim(
        "a distilled model's honest training passes, for it is another model (section IX)",
        passes(matches, "distillation", "strict") and spoof(matches, "distillation").lands > LANDED,
        f"{verdict(matches, 'distillation', 'strict')}, ends {spoof(matches, 'distillation').lands:.3g} d_ref away",
    )


def committed_costs_more(matches: Matches, top: int) -> Claim:
    first, challenged = matches["zhang 2"].spoofs[:2]
    ratio = first.flops / challenged.flops
    found = f"{ratio:.3g} times the operations, {first.seconds / challenged.seconds:.3g} times the time"
    says = "attack 2 costs more where all data are committed first than where they are made for a challenge"
    return Claim(f"{says} (section VIII-A)", ratio > 1, found)


CLAIMS: tuple[tuple[tuple[str, ...], Callable[[Matches, int], Claim]], ...] = (
    (("honest",), honest_pass),
    (("infinitesimal", RANKED, "zhang 2"), infinitesimal_below_synthetic),
    (("blindfold",), blindfold_up_to_its_q),
    (("concatenation",), fails("concatenation", "jia2021_topq", "concatenation fails top-Q (Jia et al.)")),
    (("inversion", "honest"), inversion_costs_training),
    (("zhang 1", "honest"), zhang_1_does_not_converge),
    (("injection",), old_pass_strict_fails("injection", ("jia2021_full", "relative"))),
    (("steering",), old_pass_strict_fails("steering", ("relative",))),
    (("honest",), strict_refuses_theft),
    (("replay",), replay_fails_when_stamped),
    (("distillation",), function_space_passes),
    (("zhang 2",), committed_costs_more),
)
