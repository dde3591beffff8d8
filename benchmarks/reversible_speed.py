"""Images a second through a reversible network, both ways: the small network of `reversible_faces` and the paper's."""

import torch

from benchmarks.timing import arguments, interleaved, report
from predella.models.reversible import Reversible, ReversibleConfig
from predella.recipes.reversible_faces import SMALL

BATCH = {"small": 64, "paper": 16}


def main() -> None:
    options = arguments("reversible_speed")
    figures = {}
    for name, config in (("small", SMALL), ("paper", ReversibleConfig())):
        torch.manual_seed(0)
        model = Reversible(config).eval()
        x = torch.rand(BATCH[name], 3, config.size, config.size) * 2 - 1
        with torch.inference_mode():
            z = model.encode(x)
            calls = {"encode": lambda m=model, x=x: m.encode(x), "decode": lambda m=model, z=z: m.decode(z)}
            times = interleaved(calls, repeat=9)
        for way, seconds in times.items():
            figures[f"{name}_{way}_per_s"] = BATCH[name] / seconds
        figures[f"{name}_decode_vs_encode"] = times["decode"] / times["encode"]
    report(options, figures, [f"{torch.get_num_threads()} threads"])


if __name__ == "__main__":
    main()
