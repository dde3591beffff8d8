"""Runs whose stream depends on the weights: saved and resumed only where a pool ends, and then bit for bit."""

from dataclasses import replace

import pytest
import torch

from predella.train.checkpoint import load_state
from predella.train.trainer import Interrupted
from test_train import Toy, toy_trainer


@pytest.fixture(autouse=True)
def float32():
    torch.set_default_dtype(torch.float32)


class Pools(Toy):
    """Pools of three batches, each trained on twice; what a pool sees depends on the weights when it was filled."""

    pause = 6

    def __init__(self, stop_at=None):
        super().__init__()
        self.stop_at, self.trainer, self.steps = stop_at, None, 0

    def stream(self, since, step):
        source = since(step // 2)
        while True:
            shift = self.a.weight.sum().item()
            pool = [replace(b, target=b.target + shift) for b in (next(source) for _ in range(3))]
            for batch in pool + pool[::-1]:
                self.steps += 1
                if self.steps == self.stop_at:
                    self.trainer.stop = True
                yield batch


def trained(folder, steps=18, stop_at=None, resume=False, save_every=100):
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    objective = Pools(stop_at)
    trainer = objective.trainer = toy_trainer(folder, objective, steps)
    trainer.save_every = save_every
    trainer.fit(resume)
    return objective


def test_a_stop_inside_a_pool_waits_for_its_end_and_goes_on_bit_for_bit(tmp_path):
    whole = trained(tmp_path / "whole")
    with pytest.raises(Interrupted, match="step 12"):
        trained(tmp_path / "parts", stop_at=8)
    assert load_state(tmp_path / "parts")[1]["step"] == 12
    again = trained(tmp_path / "parts", resume=True)
    for a, b in zip((*whole.a.parameters(), *whole.b.parameters()), (*again.a.parameters(), *again.b.parameters())):
        assert torch.equal(a, b)


def test_a_stop_in_the_last_pool_ends_with_the_training(tmp_path):
    trained(tmp_path, stop_at=14)
    assert load_state(tmp_path)[1]["step"] == 18


@pytest.mark.parametrize(("step", "pause"), [(0, 6), (4, 6), (5, 6), (6, 12), (11, 12)])
def test_where_a_stop_will_be_is_known(tmp_path, step, pause):
    trainer = toy_trainer(tmp_path, Pools(None), 18)
    trainer.step = step
    assert trainer.next_pause() == pause


def test_states_are_saved_where_pools_end(tmp_path, monkeypatch):
    from predella.train import trainer

    steps = []
    save = trainer.save_state
    monkeypatch.setattr(
        trainer, "save_state", lambda folder, tensors, numbers: steps.append(numbers["step"]) or save(folder, tensors, numbers)
    )
    trained(tmp_path, save_every=4)
    assert steps == [6, 12, 18, 18]  # due at 4, 8, 16; 12 was due and paused; the last is the end


def test_a_stage_ends_where_a_pool_ends(tmp_path):
    with pytest.raises(ValueError, match="20 steps; its objective needs a multiple of 6"):
        trained(tmp_path, steps=20)
