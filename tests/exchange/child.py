"""Be a server or a judge in a process of its own: `python -m tests.exchange.child serve|ask FOLDER [URL|PORT]`."""

import sys
from pathlib import Path
from threading import Event

from polarchive.format.part import BatchPart
from tests.exchange.scene import Scene
from tests.simulator import Simulation

LONG = Simulation(segments=10, every=5)
EVERY = tuple(range(10))


def scene_in(folder: Path) -> Scene:
    """Return the same longer run in every process."""
    return Scene(folder, LONG)


def document(scene: Scene) -> bytes:
    """Return a request for all of it."""
    return scene.request(segments=EVERY, states=())


def serve(folder: Path, port: int) -> None:
    """Serve until killed; say where."""
    scene = scene_in(folder)
    with scene.archive, scene.serving(port=port) as server:
        print(server.url, flush=True)
        Event().wait()


def ask(folder: Path, url: str) -> None:
    """Replay nothing, and ask for everything, a segment ahead; say each step that is there."""
    scene = scene_in(folder)
    with scene.channel(url, document(scene), patience=60.0) as channel:
        for segment in EVERY:
            channel.prefetch([BatchPart(step, 0) for step in range(5 * segment + 5, min(5 * segment + 10, 50))])
            for step in range(5 * segment, 5 * segment + 5):
                channel.batch(step, 0)
                print(step, flush=True)


if __name__ == "__main__":
    role, folder, place = sys.argv[1:]
    if role == "serve":
        serve(Path(folder), int(place))
    else:
        ask(Path(folder), place)
