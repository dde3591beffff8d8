"""Backpropagation by inversion (Gomez et al. 2017, Alg. 1): training memory that does not grow with depth.

Nothing between a chain's ends is stored. Going back, each map's input is recomputed from its output by the inverse, and its
gradient taken on the spot. In a coupling the value G(y1), computed once with its graph, gives both the inverse
(x2 = y2 - G(y1)) and the gradient, so that a step costs 4/3 of plain backpropagation, not 5/3.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from predella.nn.bijections import AdditiveCoupling, Bijection, Chain, Coupling, Inverse, Split, halves

Gradients = dict[Tensor, Tensor]
Slot = tuple[dict, str, int]  # a module's parameters, a name there, and the parameter's number


class MemoryFree(Bijection):
    """The same map as `bijection`, both ways, with activations recomputed by inversion instead of stored (reversible checkpointing).

    Values are those of `bijection`; gradients agree to rounding. Chains, splits and inverses are taken apart; a map that is no
    coupling is inverted and then differentiated on its own. Derivatives of derivatives are not available: use `bijection` itself.
    Weights must not change between the forward and the backward pass (autograd says so if they do). Wrap the whole in FSDP, not
    its blocks.
    """

    def __init__(self, bijection: Bijection):
        super().__init__()
        if not isinstance(bijection, Bijection):
            raise ValueError(f"MemoryFree takes a bijection, got a {type(bijection).__name__}")
        self.bijection = bijection

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._run(x, False)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self._run(y, True)

    def initialize(self, x: Tensor) -> Tensor:
        return self.bijection.initialize(x)

    def _run(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        if not torch.is_grad_enabled() or not (x.requires_grad or any(p.requires_grad for p in self.bijection.parameters())):
            return _apply(self.bijection, x, inverse)
        ladj, link = None, None
        steps = list(_steps(self.bijection, inverse))
        for i, (bijection, way) in enumerate(steps):
            before = link if x.requires_grad else None  # nobody goes further back than that
            link = None if i + 1 == len(steps) else _Link()
            parameters = [p for p in bijection.parameters() if p.requires_grad]
            x, one = _Through.apply(bijection, way, before, link, x, *parameters)
            ladj = one if ladj is None else ladj + one
        return (x, x.new_zeros(len(x))) if ladj is None else (x, ladj)


class _Link:
    """Between two maps, on the way back: the later one leaves here the value that the earlier one starts from."""

    value: Tensor | None = None


def _is(bijection: Bijection, kind: type[Bijection]) -> bool:
    """Whether it is of that kind and works as that kind does: a subclass may have its own way."""
    own = type(bijection)
    return isinstance(bijection, kind) and own.forward is kind.forward and own.inverse is kind.inverse


def _steps(bijection: Bijection, inverse: bool) -> Iterator[tuple[Bijection, bool]]:
    """The maps that a chain consists of in the order of use, each with whether its inverse is used."""
    if _is(bijection, Chain):
        assert isinstance(bijection, Chain)
        for one in reversed(list(bijection)) if inverse else bijection:
            yield from _steps(one, inverse)
    elif _is(bijection, MemoryFree) or _is(bijection, Inverse):
        assert isinstance(bijection, (MemoryFree, Inverse))
        yield from _steps(bijection.bijection, inverse != isinstance(bijection, Inverse))
    else:
        yield bijection, inverse


class _Through(torch.autograd.Function):
    """One map as a node of the graph: its parameters' gradients leave as soon as they are known.

    Parameters are inputs, so that the engine accumulates their gradients as it does everywhere else. `before` and `after` link
    it with its neighbours; only the last node (`after` None) saves its output.
    """

    @staticmethod
    def forward(ctx, bijection: Bijection, inverse: bool, before: _Link | None, after: _Link | None, x: Tensor, *parameters: nn.Parameter):
        out, ladj = _apply(bijection, x, inverse)
        ctx.save_for_backward(*parameters, *([out] if after is None else []))
        number = {id(p): i for i, p in enumerate(parameters)}
        own = [m._parameters for m in bijection.modules()]
        ctx.slots = [(place, name, number[id(p)]) for place in own for name, p in place.items() if id(p) in number]
        ctx.bijection, ctx.inverse, ctx.autocast = bijection, inverse, _autocast(x.device.type)
        ctx.before, ctx.after = before, after
        return out, ladj

    @staticmethod
    @once_differentiable
    def backward(ctx, d_out: Tensor, d_ladj: Tensor):
        saved = ctx.saved_tensors  # says so if they have changed
        if ctx.after is None:
            *saved, out = saved
            out, d_out = _own(out), _own(d_out)
        else:
            out, ctx.after.value = ctx.after.value, None
        gradients: Gradients = {}
        own = [p.detach().requires_grad_() for p in saved]
        with ctx.autocast(), _in_place_of(ctx.slots, own):
            out, d_in = _undo(ctx.bijection, ctx.inverse, out, d_out, d_ladj, gradients)
        if ctx.before is not None:
            ctx.before.value = out
        return None, None, None, None, d_in, *(gradients.pop(p, None) for p in own)


@contextmanager
def _in_place_of(slots: Sequence[Slot], values: Sequence[Tensor]) -> Generator[None]:
    """`values` where the parameters are: those of the forward pass, whatever stands there now, and without the users' hooks."""
    before = [(place, name, place[name]) for place, name, _ in slots]
    try:
        for place, name, i in slots:
            place[name] = values[i]
        yield
    finally:
        for place, name, parameter in before:
            place[name] = parameter


def _apply(bijection: Bijection, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
    return bijection.inverse(x) if inverse else bijection(x)


def _own(x: Tensor) -> Tensor:
    """A copy that may be overwritten."""
    return x.clone(memory_format=torch.contiguous_format)


def _undo(bijection: Bijection, inverse: bool, out: Tensor, d_out: Tensor, d_ladj: Tensor, gradients: Gradients) -> tuple[Tensor, Tensor]:
    """From the output of a map (or of its inverse) and its gradient: the input and its gradient; parameters' are added up.

    `out` and `d_out` are overwritten, so that couplings allocate nothing but their network's own graph.
    """
    if _is(bijection, Chain) or _is(bijection, MemoryFree) or _is(bijection, Inverse):
        for one, way in reversed(list(_steps(bijection, inverse))):
            out, d_out = _undo(one, way, out, d_out, d_ladj, gradients)
        return out, d_out
    if _is(bijection, Split):
        assert isinstance(bijection, Split)
        for whole, new in zip((out, d_out), _undo(bijection.inner, inverse, halves(out)[0], halves(d_out)[0], d_ladj, gradients)):
            _copy(halves(whole)[0], new)
        return out, d_out
    if _is(bijection, Coupling):
        assert isinstance(bijection, Coupling)
        return _undo_coupling(bijection, inverse, out.contiguous(), d_out.contiguous(), d_ladj, gradients)
    before = _apply(bijection, out, not inverse)[0].detach().requires_grad_()
    with torch.enable_grad():
        results = _apply(bijection, before, inverse)
    (d_before,) = _gradient(results, (d_out, d_ladj), [before], bijection.parameters(), gradients)
    return before.detach(), d_before


def _copy(view: Tensor, new: Tensor) -> None:
    """`new` into `view`, of whose memory it may itself be another view."""
    if new.untyped_storage().data_ptr() == view.untyped_storage().data_ptr():
        if (new.data_ptr(), new.stride()) == (view.data_ptr(), view.stride()):
            return
        new = new.clone()
    view.copy_(new)


def _undo_coupling(coupling: Coupling, inverse: bool, out: Tensor, d_out: Tensor, d_ladj: Tensor, gradients: Gradients):
    (a, b), (da, db) = halves(out), halves(d_out)
    if inverse:  # the last step was x1 = back(y1, F(x2)), the one before x2 = back(y2, G(y1))
        _undo_step(coupling, coupling.f, True, a, b, da, db, d_ladj, gradients)
        _undo_step(coupling, coupling.g, True, b, a, db, da, d_ladj, gradients)
    else:  # the last step was y2 = step(x2, G(y1)), the one before y1 = step(x1, F(x2))
        _undo_step(coupling, coupling.g, False, b, a, db, da, d_ladj, gradients)
        _undo_step(coupling, coupling.f, False, a, b, da, db, d_ladj, gradients)
    return out, d_out


def _undo_step(coupling: Coupling, net: nn.Module, inverse: bool, out: Tensor, source: Tensor, d_out: Tensor, d_source: Tensor,
               d_ladj: Tensor, gradients: Gradients) -> None:  # fmt: skip
    """out = step(before, net(source)): before and its gradient replace out's; this step's share is added to d_source."""
    leaf = source.data.requires_grad_()  # .data: `out`, a view of the same memory, changes while the graph of h waits
    with torch.enable_grad():
        h = net(leaf)
    forth, undo = (coupling.back, coupling.step) if inverse else (coupling.step, coupling.back)
    out.copy_(undo(out, h.detach())[0])
    if type(coupling).step is AdditiveCoupling.step and type(coupling).back is AdditiveCoupling.back:
        d_h = -d_out if inverse else d_out
    else:
        before, h_ = out.detach().requires_grad_(), h.detach().requires_grad_()
        with torch.enable_grad():
            results = forth(before, h_)
        nets = {id(p) for n in (coupling.f, coupling.g) for p in n.parameters()}
        rest = [p for p in coupling.parameters() if id(p) not in nets]
        d_before, d_h = _gradient(results, (d_out, d_ladj), [before, h_], rest, gradients)
        d_out.copy_(d_before)
        del before, h_, results, d_before
    (share,) = _gradient((h,), (d_h.to(h.dtype),), [leaf], net.parameters(), gradients)
    d_source += share


def _gradient(outputs: Sequence[Tensor], d_outputs: Sequence[Tensor], sources: Sequence[Tensor], parameters: Iterable[Tensor],
              gradients: Gradients) -> list[Tensor]:  # fmt: skip
    """d/d(source) of each; the parameters' gradients are added to `gradients`."""
    pairs = [(o, d) for o, d in zip(outputs, d_outputs) if o.requires_grad]
    trained = [p for p in parameters if p.requires_grad]
    found = torch.autograd.grad([o for o, _ in pairs], [*sources, *trained], [d for _, d in pairs], allow_unused=True)
    for p, g in zip(trained, found[len(sources) :]):
        if g is not None:
            gradients[p] = gradients[p] + g if p in gradients else g
    return [torch.zeros_like(s) if g is None else g for s, g in zip(sources, found)]


def _autocast(device: str) -> Callable[[], AbstractContextManager]:
    """The present mixed precision, to be entered again on the way back."""
    if not torch.amp.is_autocast_available(device):
        return nullcontext
    enabled, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    return lambda: torch.autocast(device, dtype=dtype, enabled=enabled)
