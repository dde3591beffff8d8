"""Batches as a function of (seed, step): random access, so that resuming and sharing among processes are exact."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from predella.config import config
from predella.data.images import Images
from predella.image.contract import from_uint8
from predella.image.resize import resize
from predella.tasks.base import Batch, Task


@config
class Augment:
    """Random changes that keep a picture a picture.

    Args:
        flip: mirror left to right, half of the time.
        rotate: turn by a random multiple of 90°.
        shrink: largest random downscale before cropping (1 = none); shows finer detail in the same crop.
        shrink_probability: how often.
        snap: the shorter edge of pictures that are shown whole is cut, at a random place, to a multiple of so many pixels: so that
            more of them have one size, and the pictures of a batch are computed together.
    """

    flip: bool = True
    rotate: bool = True
    shrink: float = 1.0
    shrink_probability: float = 0.5
    snap: int = 1

    def __post_init__(self):
        if self.snap < 1:
            raise ValueError(f"snap must be at least 1, got {self.snap}")


def seed_of(*key: int) -> int:
    """A 63-bit seed that is a well-mixed function of the lowest 32 bits of the integers in `key`."""
    return int(np.random.SeedSequence([k & 0xFFFFFFFF for k in key]).generate_state(1, np.uint64)[0] >> 1)


class Batches:
    """The stream of training batches of one recipe.

    Item n of the stream is picture `permutation(seed, n // len)[n % len]`, cut and turned by a generator seeded with
    (seed, n); a batch is `batch_size` consecutive items. Nothing else decides what a step sees. Where pictures of several sizes are
    shown whole, the permutation is of batches of one size as far as there are enough.

    Args:
        images: the pictures.
        task: makes the condition.
        batch_size: items a step, over all processes.
        rank, world: this process takes items rank · B/world … (rank + 1) · B/world of each batch.

    Raises:
        ValueError: if `batch_size` is not a multiple of `world`.
    """

    def __init__(self, images: Images, task: Task, batch_size: int, augment: Augment, seed: int = 0,
                 rank: int = 0, world: int = 1, workers: int = 1):  # fmt: skip
        if batch_size % world:
            raise ValueError(f"batch_size must be a multiple of the {world} processes, got {batch_size}")
        self.images, self.task, self.augment, self.seed = images, task, augment, seed
        self.batch_size, self.rank, self.world, self.workers = batch_size, rank, world, workers
        self._permutations: OrderedDict[int, Tensor] = OrderedDict()

    def _permutation(self, epoch: int) -> Tensor:
        found = self._permutations.get(epoch)
        if found is None:
            generator = torch.Generator().manual_seed(seed_of(self.seed, 0, epoch))
            found = torch.randperm(len(self.images), generator=generator)
            if not self.task.crop(torch.Generator()):
                begun = epoch * len(self.images) % self.batch_size  # items that the batch in which the epoch begins has already
                sizes = [self._snapped(*size) for size in self.images.sizes]
                found = _by_size(found, sizes, self.batch_size, -begun % self.batch_size, generator)
            self._permutations[epoch] = found
            while len(self._permutations) > 4:
                self._permutations.popitem(last=False)
        return found

    def _place(self, n: int) -> int:
        """Which picture item n of the stream is."""
        epoch, place = divmod(n, len(self.images))
        return int(self._permutation(epoch)[place])

    def _item(self, n: int, edge: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed_of(self.seed, 1, n))
        image = self.images[self._place(n)]
        a, b, c, d, e, f = torch.rand(6, generator=generator, dtype=torch.float64).tolist()
        cut = edge
        if self.augment.shrink > 1 and a < self.augment.shrink_probability:
            cut = round(edge * (1 + b * (self.augment.shrink - 1)))
        height, width = image.shape[-2:]
        cut = min(cut, height, width)
        top, left = int(c * (height - cut + 1)), int(d * (width - cut + 1))
        crop = from_uint8(image[:, top : top + cut, left : left + cut])
        if cut != edge:
            crop = resize(crop, (edge, edge)).clamp(-1, 1)
        if self.augment.flip and e < 0.5:
            crop = crop.flip(-1)
        return torch.rot90(crop, int(f * 4), (-2, -1)) if self.augment.rotate else crop

    def _whole(self, n: int) -> Tensor:
        """The picture itself, mirrored or not, less what its shorter edge has over a multiple of `snap`."""
        generator = torch.Generator().manual_seed(seed_of(self.seed, 1, n))
        image = from_uint8(self.images[self._place(n)])
        height, width = self._snapped(image.shape[-2], image.shape[-1])
        place = torch.rand((), generator=torch.Generator().manual_seed(seed_of(self.seed, 4, n)))
        top, left = (int(place * (a - b + 1)) for a, b in zip(image.shape[-2:], (height, width)))
        image = image[:, top : top + height, left : left + width]
        return image.flip(-1) if self.augment.flip and torch.rand((), generator=generator) < 0.5 else image

    def _snapped(self, height: int, width: int) -> tuple[int, int]:
        least = min(height, width)
        cut = least - least % self.augment.snap or least
        return (cut, width) if height <= width else (height, cut)

    def __call__(self, step: int) -> Batch:
        """This process's share of batch `step` (0, 1, …)."""
        seed = seed_of(self.seed, 2, step)
        edge = self.task.crop(torch.Generator().manual_seed(seed))
        share = self.batch_size // self.world
        first = step * self.batch_size + self.rank * share
        if edge:
            image, sizes = torch.stack([self._item(n, edge) for n in range(first, first + share)]), ()
        else:
            image, sizes = _stacked([self._whole(n) for n in range(first, first + share)])
        seeds = torch.tensor([seed_of(self.seed, 3, n) for n in range(first, first + share)])
        batch = self.task(image, seeds)
        label = None
        if self.images.labels is not None:
            label = torch.tensor([int(self.images.labels[self._place(n)]) for n in range(first, first + share)])
        return Batch(batch.target, batch.condition, seed, label, (self.rank, self.world), sizes=sizes)

    def whole(self) -> Iterator[Batch]:
        """Batches 0, 1, … with the items of all processes."""
        return type(self)(self.images, self.task, self.batch_size, self.augment, self.seed, workers=self.workers).since(0)

    def since(self, step: int) -> Iterator[Batch]:
        """Batches step, step + 1, …, without end, prepared ahead by `workers` threads (0 = prepared when asked for)."""
        if self.workers == 0:
            while True:
                yield self(step)
                step += 1
        with _beside(self.workers) as pool:
            ahead: list[Future] = [pool.submit(self, step + k) for k in range(self.workers)]
            try:
                while True:
                    batch = ahead.pop(0).result()
                    ahead.append(pool.submit(self, step + self.workers))
                    step += 1
                    yield batch
            finally:
                for future in ahead:
                    future.cancel()


def _by_size(order: Tensor, sizes: Sequence[tuple[int, int]], count: int, first: int, generator: torch.Generator) -> Tensor:
    """`order` with pictures of one size side by side in runs of `count`, after the `first` ones; others in runs of similar sizes."""
    if len(set(sizes)) == 1:
        return order
    alike: dict[tuple[int, int], list[int]] = {}
    for i in order.tolist():
        alike.setdefault(sizes[i], []).append(i)
    runs = [few[k : k + count] for few in alike.values() for k in range(0, len(few) - len(few) % count, count)]
    rest = [i for size in sorted(alike) for i in alike[size][len(alike[size]) - len(alike[size]) % count :]]
    while len(rest) < first and runs:
        rest += runs.pop()
    head, rest = rest[:first], rest[first:]
    runs += [rest[k : k + count] for k in range(0, len(rest) - len(rest) % count, count)]
    last = rest[len(rest) - len(rest) % count :]
    return torch.tensor([*head, *(i for k in torch.randperm(len(runs), generator=generator).tolist() for i in runs[k]), *last])


def _beside(workers: int) -> ThreadPoolExecutor:
    """Threads that use one processor each, so that they don't crowd out training: twice as fast for small steps on 2 cores."""
    torch.ones(2**16).sum()  # the main thread keeps its own number of threads once it has used it
    return ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))


def _stacked(pictures: list[Tensor]) -> tuple[Tensor, tuple[tuple[int, int], ...]]:
    """(C, h, w) of any sizes → (B, C, H, W), zeros to the right and below, and the sizes."""
    sizes = tuple((p.shape[-2], p.shape[-1]) for p in pictures)
    height, width = max(h for h, _ in sizes), max(w for _, w in sizes)
    return torch.stack([F.pad(p, (0, width - p.shape[-1], 0, height - p.shape[-2])) for p in pictures]), sizes
