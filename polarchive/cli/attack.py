"""Make one spoof."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from polarchive.cli import loading, signing
from polarchive.cli.exits import Exit
from polarchive.errors import PolError

if TYPE_CHECKING:
    from polarchive.attacks.attack import Attack
    from polarchive.attacks.workload import Workload
    from polarchive.training.trainer import State

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("name")
@click.option("--victim", required=True, type=_FILE, help="Its proof.")
@click.option("--workload", required=True, help="Your FILE.py:function that returns the training, as published.")
@click.option("--key", required=True, type=_FILE, help="The adversary's signing key.")
@click.option("--leaked", type=click.Path(exists=True, file_okay=False, path_type=Path), help="The victim's batches.")
@click.option("--delta", type=click.FloatRange(0), help="The judge's threshold, in ℓ2; by default 0.008 d_ref.")
@click.option("--seed", default=1, show_default=True, help="The adversary's.")
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The spoof.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    name: str,
    victim: Path,
    workload: str,
    key: Path,
    leaked: Path | None,
    delta: float | None,
    seed: int,
    output: Path,
    as_json: bool,
) -> int:
    """Have the attack NAME, or that of your own FILE.py:function, forge a proof of the model that VICTIM ends in.

    The adversary takes nothing else from that archive, unless the attack is one on published proofs: then --leaked is
    the folder of the victim's batches. Beside OUTPUT a folder is made, with the run, its secret and its batches.
    """
    from polarchive.attacks.attack import forge
    from polarchive.attacks.known import Known, Leak, Rules
    from polarchive.attacks.puppet import of_model
    from polarchive.format.archive import open_archive, pack
    from polarchive.training.arrays import to_tensors
    from polarchive.training.kept import kept
    from polarchive.verification.reference import Reference

    folder = output.with_suffix("")
    if folder == output:
        raise click.UsageError(f"-o {output}: name a file that ends in .pol; a folder of its name is made beside it")
    if taken := next((path for path in (output, folder) if path.exists()), None):
        raise FileExistsError(f"{taken} exists already")
    attack = _attack(name)
    if attack.needs_leak and leaked is None:
        raise click.UsageError(f"{name} is an attack on published proofs: --leaked FOLDER shows the victim's batches")
    training = loading.function(workload)()
    with open_archive(victim, trusted=None) as archive:
        weights = of_model(to_tensors(archive.state(-1)))
        _require_place(training, weights, workload)
        rules = Rules(0.008 * Reference.of([archive]).mean if delta is None else delta)
    leak = Leak(victim, partial(kept, leaked)) if leaked else None
    spent = forge(attack, Known(weights, training, rules, seed, leak), folder, signing.signer(key))
    pack(folder / "run", output)
    facts = {"spoof": str(output), "folder": str(folder), "flops": spent.flops, "seconds": round(spent.seconds, 3)}
    told = f"{name}: {output}, in {spent.seconds:.1f} s; its run, secret and batches are in {folder}"
    click.echo(json.dumps(facts) if as_json else told)
    return Exit.OK


def _require_place(training: "Workload", weights: "State", workload: str) -> None:
    """Raise PolError, naming the first tensor, if the victim's model is not the one that the workload trains."""
    from polarchive.attacks.puppet import Puppet, of_model

    own = of_model(Puppet(training).save())
    for name, tensor in sorted(weights.items()):
        if name not in own or own[name].shape != tensor.shape:
            shape = tuple(tensor.shape)
            raise PolError(f"{workload}: its model has no place for {name} {shape}, in which the victim ends")
    if lacking := sorted(own.keys() - weights.keys()):
        raise PolError(f"{workload}: its model has {lacking[0]}, which the victim lacks")


def _attack(name: str) -> "Attack":
    from polarchive.attacks.attack import Attack
    from polarchive.attacks.catalogue import CATALOGUE

    if ":" in name:
        found = loading.function(name)()
        if not isinstance(found, Attack):
            raise PolError(f"{name}: returned a {type(found).__name__}, which is no Attack")
        return found
    if name not in CATALOGUE:
        raise PolError(f"{name}: no attack has this name; known are {', '.join(CATALOGUE)}")
    return CATALOGUE[name]
