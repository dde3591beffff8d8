"""Two processes are one: the real objectives on the real stream, float64, 1e-12."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

TWO = """
import sys, torch
from predella.data.batches import Augment, Batches
from predella.data.images import Source
from predella.models.functional_image import CellFields, FunctionalImage, FunctionalImageConfig
from predella.objectives.functional_image import FunctionalImageObjective
from predella.tasks.base import Batch
from predella.tasks.super_resolution import SuperResolution
from predella.train.engine import Engine
from predella.train.optim import Optim
from predella.train.trainer import Part, Trainer

class Double(Batches):
    def __call__(self, step):
        b = super().__call__(step)
        return Batch(b.target.double(), b.condition.double(), b.seed)

torch.set_default_dtype(torch.float64)
torch.manual_seed(1)
engine = Engine("cpu")
images = Source(paths=("digits",), smallest=8).open()
stream = Double(images, SuperResolution(patch=4, scales=(1.2, 2.0)), 4, Augment(), 3, engine.rank, engine.world)
model = FunctionalImage(FunctionalImageConfig(field=CellFields(width=4, blocks=1, hidden=3)))
optim = Optim(lr=0.01, clip=0.05, muon=("paint.encoder.body.*.weight",))
part = Part("real", 7, FunctionalImageObjective().build(model), stream, {"hypernetwork": optim})
Trainer(model, [part], sys.argv[1], engine, log_every=100, save_every=100).fit()
if engine.main:
    torch.save([p.detach() for p in model.parameters()], sys.argv[1] + "/out.pt")
engine.close()
"""

REVERSIBLE = """
import os, sys, torch
from predella.data.batches import Augment, Batches
from predella.data.images import Source
from predella.models.reversible import ClassNormals, Level, Reversible, ReversibleConfig, StandardNormal
from predella.objectives.reversible import ReversibleMatchConfig, ReversibleTransportConfig
from predella.tasks.base import Batch
from predella.tasks.unconditional import Unconditional
from predella.train.engine import Engine
from predella.train.optim import Optim
from predella.train.trainer import Part, Trainer

class Double(Batches):
    def __call__(self, step):
        b = super().__call__(step)
        return Batch(b.target.double(), None, b.seed, b.label, b.part)

torch.set_default_dtype(torch.float64)
engine = Engine("cpu")
images = Source(paths=("digits",), channels=1, smallest=8).open()
optim = {"encoder": Optim(lr=0.01, clip=0.05), "critic": Optim(lr=0.01)}
out = []
for match in ("hinge", "mmd", "swd", "transport"):
    torch.manual_seed(1)
    stream = Double(images, Unconditional(edge=8), 6, Augment(), 3, engine.rank, engine.world)
    prior = ClassNormals(classes=10) if match == "transport" else StandardNormal(dims=5)
    model = Reversible(ReversibleConfig(channels=1, size=8, levels=(Level(hidden=4),) * 2, prior=prior))
    config = ReversibleTransportConfig(survey=120) if match == "transport" else ReversibleMatchConfig(match=match, critic=(8, 8), survey=24)
    objective = config.build(model)
    part = Part(match, 5, objective, stream, {p.name: optim[p.name] for p in objective.phases()})
    os.makedirs(sys.argv[1] + "/" + match, exist_ok=True)
    Trainer(model, [part], sys.argv[1] + "/" + match, engine, log_every=100, save_every=100).fit()
    out += [p.detach() for module in objective.parts.values() for p in module.parameters()]
if engine.main:
    torch.save(out, sys.argv[1] + "/out.pt")
engine.close()
"""


TOWER = """
import sys, torch
from predella.data.batches import Augment, Batches
from predella.data.images import Source
from predella.models.tower import Tower, TowerConfig, TowerLevel
from predella.objectives.tower import TowerObjectiveConfig
from predella.tasks.base import Batch
from predella.tasks.colorization import Colorization
from predella.train.engine import Engine
from predella.train.optim import Optim
from predella.train.trainer import Part, Trainer

class Double(Batches):
    def __call__(self, step):
        b = super().__call__(step)
        return Batch(b.target.double(), b.condition.double(), b.seed, b.label, b.part)

torch.set_default_dtype(torch.float64)
torch.manual_seed(1)
engine = Engine("cpu")
images = Source(paths=("digits",), smallest=8).open()
stream = Double(images, Colorization(edge=8), 4, Augment(), 3, engine.rank, engine.world)
levels = TowerLevel(width=6, growth=4, blocks=1), TowerLevel(width=4, growth=3, blocks=1)
model = Tower(TowerConfig(condition=1, answer="ab", levels=levels, code=5, hidden=8, layers=2))
objective = TowerObjectiveConfig(samples=(4, 3), pool=2, replay=2, block=2, distance="pixels").build(model)
part = Part("pools", 8, objective, stream, {"generator": Optim(lr=0.01, clip=0.05, muon=("levels.*.original1",))})
Trainer(model, [part], sys.argv[1], engine, log_every=100, save_every=100).fit()
if engine.main:
    torch.save([p.detach() for p in model.parameters()], sys.argv[1] + "/out.pt")
engine.close()
"""

INTERNAL = """
import sys, torch
from predella.data.batches import Augment, Batches
from predella.data.images import Source
from predella.models.meta_internal import MetaInternal, MetaInternalConfig
from predella.objectives.meta_internal import MetaInternalObjectiveConfig
from predella.tasks.base import Batch
from predella.tasks.internal import Internal
from predella.train.engine import Engine
from predella.train.optim import Optim
from predella.train.trainer import Part, Trainer

class Double(Batches):
    def __call__(self, step):
        b = super().__call__(step)
        return Batch(b.target.double(), None, b.seed, b.label, b.part, sizes=b.sizes)

torch.set_default_dtype(torch.float64)
torch.manual_seed(1)
engine = Engine("cpu")
images = Source(paths=("photos",), longest=24, part=(0, 6)).open()
stream = Double(images, Internal(), 4, Augment(flip=False, rotate=False), 3, engine.rank, engine.world)
model = MetaInternal(MetaInternalConfig(coarsest=10, finest=24, scales=2, width=4, embedding=6, rank=2, layers=3))
optim, parts = Optim(lr=0.01, clip=0.05), []
for scale, penalty in enumerate(("real", "between")):
    objective = MetaInternalObjectiveConfig(scale=scale, penalty=penalty, window=8 * scale).build(model)
    parts.append(Part(f"scale_{scale}", 5, objective, stream, {"generator": optim, "critic": optim}))
together = MetaInternalObjectiveConfig(scale=1, adversarial=0.0, texture=0.25, together=True).build(model)
parts.append(Part("together", 3, together, stream, {"generator": optim}))
Trainer(model, parts, sys.argv[1], engine, log_every=100, save_every=100).fit()
if engine.main:
    both = [*model.state_dict().values(), *parts[1].objective.critic.state_dict().values()]
    torch.save([p for p in both if p.is_floating_point()], sys.argv[1] + "/out.pt")
engine.close()
"""

DENSITY = """
import sys, torch
from predella.data.batches import Augment, Batches
from predella.data.images import Source
from predella.models.coverage_quality import CoverageQuality, CoverageQualityConfig, Flow
from predella.objectives.coverage_quality import CoverageQualityObjectiveConfig
from predella.tasks.base import Batch
from predella.tasks.unconditional import Unconditional
from predella.train.engine import Engine
from predella.train.optim import Optim
from predella.train.trainer import Part, Trainer

class Double(Batches):
    def __call__(self, step):
        b = super().__call__(step)
        return Batch(b.target.double(), None, b.seed, b.label, b.part)

torch.set_default_dtype(torch.float64)
torch.manual_seed(1)
engine = Engine("cpu")
images = Source(paths=("photos",), edge=16, smallest=8).open()
stream = Double(images, Unconditional(edge=16), 4, Augment(), 3, engine.rank, engine.world)
model = CoverageQuality(CoverageQualityConfig(size=16, latent=3, width=16, flow=Flow(scales=1, couplings=1, width=4, blocks=1)))
with torch.no_grad():
    model.encoder.out.weight.mul_(5)
    x = Double(images, Unconditional(edge=16), 4, Augment(), 3)(0).target
    free = 0.99 * model.elbo_terms(x, torch.zeros(4, 3))[1].mean().item()  # one process has more nats, the other fewer
optim, parts = Optim(lr=0.01, clip=0.05), []
for name, fields in (("latent", {"quality": 0.0, "held": True}), ("features", {})):
    objective = CoverageQualityObjectiveConfig(free=free, critic_width=4, **fields).build(model)
    parts.append(Part(name, 2, objective, stream, {p.name: optim for p in objective.phases()}))
Trainer(model, parts, sys.argv[1], engine, log_every=100, save_every=100).fit()
if engine.main:
    both = [*model.state_dict().values(), *parts[-1].objective.critic.state_dict().values()]
    torch.save([p for p in both if p.is_floating_point()], sys.argv[1] + "/out.pt")
engine.close()
"""


@pytest.mark.parametrize(
    "script", [TWO, REVERSIBLE, TOWER, INTERNAL, DENSITY], ids=["functional image", "reversible", "tower", "internal", "density"]
)
def test_two_processes_equal_one(tmp_path, script):
    """The real objective on the real stream, with a gradient clip that bites; float64, 1e-12."""
    (tmp_path / "two.py").write_text(script)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    results = []
    for count in (1, 2):
        out = tmp_path / str(count)
        out.mkdir()
        port = 29500 + os.getpid() % 1000 + count
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count), "--master-port", str(port)]
        done = subprocess.run([*command, str(tmp_path / "two.py"), str(out)], capture_output=True, text=True, env=environment, timeout=120)
        assert done.returncode == 0, done.stderr[-2000:]
        results.append(torch.load(out / "out.pt", weights_only=True))
    for a, b in zip(*results):
        assert a.dtype == torch.float64 and (a - b).abs().max() < 1e-12, (a - b).abs().max()
