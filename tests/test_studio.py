"""The web page: served on the loopback address, it runs the lines it shows, and leaves nothing behind."""

import builtins
import json
import socket
import time
from importlib import import_module
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from predella.cli import main
from predella.errors import UserError
from predella.models.base import PRETRAINED, list_pretrained, model_class
from predella.studio import fill, restore, sample, upscale, vary
from predella.studio.line import Lines, _in_order, _reason, named


@pytest.fixture(scope="module")
def page(studio):
    """A client of the page."""
    return Client(studio.address, verbose=False, download_files=studio.place / "fetched")


def restored(page, task, file, count=2, exact=False, box=""):
    return page.predict(task, handle_file(file) if file else None, count, exact, 0, False, box, False, api_name="/restore")


def test_a_jpeg_is_handed_on_as_the_file_that_it_is(page, photo, cli, tmp_path):
    """Its coefficients are in its bytes: the page's answers are those of the line in a shell."""
    file = photo.with_suffix(".jpg")
    Image.open(photo).save(file, quality=5)
    shown, said = restored(page, "A JPEG that was compressed too far (quality about 5)", file, exact=True)
    assert said.startswith("$ predella restore decompression photo.jpg --answers 2 --seed 0 --out answers --exact\n")
    assert cli("restore", "decompression", file, "--answers", 2, "--exact", "--out", tmp_path / "own")[0] == 0
    for name, one in zip(("photo-sheet.png", "photo-1.png", "photo-2.png"), shown, strict=True):
        assert np.abs(np.array(Image.open(one["image"]), int) - np.array(Image.open(tmp_path / "own" / name), int)).max() <= 1


def test_what_is_painted_is_filled(page, photo, tmp_path):
    layer = np.zeros((40, 56, 4), np.uint8)
    layer[10:12, 5:40] = 255, 0, 64, 255
    Image.fromarray(layer).save(tmp_path / "layer.png")
    painted = {"background": handle_file(photo), "layers": [handle_file(tmp_path / "layer.png")], "composite": None}
    file, said = page.predict(painted, api_name="/fill")
    filled, before = np.array(Image.open(file)), np.array(Image.open(photo))
    known = layer[..., 3] == 0
    assert (filled[known] == before[known]).all() and (filled[~known] != before[~known]).any()
    assert f"{70 / 2240:.1%} filled" in said


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (lambda page, photo: restored(page, "Colours of a grey photo", None), "choose a picture first"),
        (lambda page, photo: restored(page, "Colours of a grey photo", broken(photo)), "photo.png is not an image in a known format"),
        (lambda page, photo: page.predict(" ", 4, 1, 0, api_name="/sample"), "name a model: a shipped one, or the folder of a run"),
        (lambda page, photo: page.predict({"background": handle_file(photo), "layers": [], "composite": None}, api_name="/fill"), "paint"),
    ],
)
def test_mistakes_are_told_where_the_line_is(page, photo, asked, says):
    shown, said = asked(page, photo)
    assert not shown and said.splitlines()[-1].startswith("Not done: ") and says in said.splitlines()[-1]


def test_a_line_that_makes_nothing_ends_too(page):
    shown, said = page.predict("--help", 4, 1, 0, api_name="/sample")
    assert not shown and "Draw pictures from a trained model" in said


def broken(photo):
    photo.write_text("no picture")
    return photo


def test_what_is_stopped_ends(page, photo, studio):
    def running():
        return [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE and "vary" in words(p)]

    def words(process):
        try:
            return process.cmdline()
        except psutil.Error:  # it has just ended
            return []

    folder = next(studio.place.glob("predella-studio-*"))
    before = set(folder.glob("line-*"))
    job = page.submit(handle_file(photo), "A network of this picture, trained now (ten minutes)", 2, "", 0, 0, api_name="/vary")
    while not running() and not job.done():
        time.sleep(0.1)
    assert running()
    job.cancel()
    until = time.monotonic() + 30
    while (running() or set(folder.glob("line-*")) != before) and time.monotonic() < until:
        time.sleep(0.1)
    assert not running() and set(folder.glob("line-*")) == before, "nothing of it stays"
    stops = [d for d in page.config["dependencies"] if d["cancels"]]
    assert len(stops) == 5, "a Stop button for each line"


def test_no_other_website_asks_the_page(page):
    own = page.src.rstrip("/")
    upload = {"files": ("a.png", b"", "image/png")}
    assert httpx.get(f"{own}/config").status_code == 200
    assert httpx.get(f"{own}/config", headers={"Host": "evil.example:7860"}).status_code == 403
    assert httpx.post(f"{own}/gradio_api/upload", files=upload, headers={"Origin": "http://evil.example"}).status_code == 403
    assert httpx.post(f"{own}/gradio_api/upload", files=upload, headers={"Origin": own}).status_code == 200


def test_what_is_handed_in_is_no_code(tmp_path):
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')")
    words = ("upscale", "absent.png", "--scale", "2", "--out", "answers/a.png")
    with pytest.raises(UserError, match=r"absent\.png"):
        list(Lines(tmp_path, tmp_path).run(words, {"numpy.py": tmp_path / "own.py"}))
    assert not (tmp_path / "marker").exists() and not list(tmp_path.glob("line-*"))
    with pytest.raises(UserError, match=r"numpy\.py ends in '\.py'"):
        named("/a/numpy.py")


def test_what_was_made_is_handed_in_again(page, photo):
    again = photo.rename(photo.with_name("answers.png"))
    _, file = page.predict(handle_file(again), 1.5, "Photos", False, api_name="/upscale")[0]
    assert file.endswith("answers-enlarged.png") and Image.open(file).size == (84, 60)


@pytest.mark.parametrize(
    ("status", "said", "reason"),
    [
        (2, "predella: a note\npredella: the mistake", "the mistake"),
        (130, "predella: stopped; nothing was saved", "stopped; nothing was saved"),
        (1, "predella: a note\nTraceback (most recent call last):\nKeyError: 3", "KeyError: 3"),
        (-9, "predella: a note", "the line was ended by signal 9; perhaps memory ran out"),
        (1, "", "the line ended with status 1"),
    ],
)
def test_why_a_line_ended_is_no_note(status, said, reason):
    assert _reason(status, said) == reason


def test_old_lines_are_cleared_away_and_answers_in_order(tmp_path, monkeypatch):
    for name in ("line-old", "examples"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("predella.studio.line.KEPT", -1.0)
    with pytest.raises(UserError, match="no verb"):
        list(Lines(tmp_path, tmp_path).run(("nothing",), {}))
    assert [f.name for f in tmp_path.iterdir()] == ["examples"]
    files = [Path(f"photo2-{k}.png") for k in (10, 2, "sheet", 1)]
    assert [f.stem for f in sorted(files, key=_in_order)] == ["photo2-sheet", "photo2-1", "photo2-2", "photo2-10"]


def test_a_number_that_was_cleared_is_asked_for(tmp_path, photo):
    with pytest.raises(UserError, match="give a number: the seed"):
        sample.asked(Lines(tmp_path, tmp_path), "reversible_faces", 4, 1, None)


def test_a_closed_page_begins_no_line(tmp_path):
    lines = Lines(tmp_path, tmp_path)
    lines.close()
    with pytest.raises(UserError, match="being closed"):
        list(lines.run(("list",), {}))


def lines_of(lines, photo):
    """Every tab's line, once with what is there from the start and once with all that can be set."""
    yield from (restore.asked(lines, task, photo, 6, False, 0, False, "", False) for task in restore.TASKS)
    yield restore.asked(lines, "A face, from 4×4 pixels to 64×64", photo, 6, True, 1234567, True, "1, 2, 30, 40", True)
    yield from (upscale.asked(lines, photo, 2.5, model, True) for model in upscale.MODELS)
    yield from (vary.asked(lines, photo, how, 4, size, 100, 0) for how in vary.HOW for size in (None, "64 x 48"))
    yield from (sample.asked(lines, model, 36, 3, 0) for model in sample.NAMES)
    yield fill.asked(lines, {"background": np.full((4, 4, 4), 255, np.uint8), "layers": [np.full((4, 4, 4), 255, np.uint8)]})


def test_every_line_is_one_that_the_command_line_knows(tmp_path, photo, monkeypatch):
    read = []
    monkeypatch.setattr("predella.cli._guard", lambda module, options, rest: read.append(options) or 0)
    for words, files in lines_of(Lines(tmp_path, tmp_path), str(photo)):
        assert main(words) == 0 and all(f.is_file() for f in files.values())
    assert len(read) == 5 + 1 + 2 + 6 + len(sample.NAMES) + 1
    assert (read[5].box, read[5].exact, read[5].invert, read[5].seed, read[5].answers) == ("1,2,30,40", True, False, 1234567, 6)
    assert [o.size for o in read[8:14]] == [None, "64x48"] * 3 and [o.tune for o in read[8:14]] == [100, 100, 0, 0, 0, 0]


def test_names_that_no_line_takes_for_options(tmp_path):
    assert (
        list(named("/a/--out x.PNG")) == ["out_x.png"]
        and list(named("/a/….jpg")) == ["_.jpg"]
        and list(named("/a/.-.png")) == ["picture.png"]
    )


def test_a_run_is_found_from_where_the_page_was_started(tmp_path):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    lines = Lines(tmp_path, tmp_path)
    assert lines.model(" runs/mine ") == str(tmp_path / "runs" / "mine") and lines.model("tower_color") == "tower_color"


def test_ports_that_cannot_be_had(refuses):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        refuses("studio", "--port", other.getsockname()[1], says=[f"port {other.getsockname()[1]} can't be had", "--port"])
    refuses("studio", "--port", 70000, says="--port must lie in 0…65535, got 70000")


def test_without_gradio_a_line_says_how_to_get_it(refuses, monkeypatch):
    real = builtins.__import__

    def missing(name, *more, **rest):
        if name == "gradio":
            raise ImportError(name)
        return real(name, *more, **rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    refuses("studio", "--port", 0, says=["needs gradio", "pip install 'gradio>=6,<7'"])


def test_options_are_shown_where_they_count(tmp_path, photo):
    def words(task):
        return restore.asked(Lines(tmp_path, tmp_path), task, str(photo), 2, True, 0, True, "1,2,3,4", True)[0]

    for task, kind in restore.TASKS.items():
        flags = {w for w in words(task) if w in ("--exact", "--shrink", "--box", "--invert")}
        exact, shrink, box, invert = (update["visible"] for update in restore._for(task))
        assert ("--exact" in flags, "--shrink" in flags, "--box" in flags, "--invert" in flags) == (exact, shrink, box, invert), kind
    assert not restore._for("A facade, from a drawing of its parts")[0]["visible"]


def test_all_shipped_models_that_draw_are_offered():
    kinds = {name: json.loads((PRETRAINED / name / "config.json").read_text())["model"] for name in list_pretrained()}
    drawn = {name for name, kind in kinds.items() if "sample" in getattr(model_class(kind), "verbs", ())}
    assert set(sample.NAMES.values()) == drawn


def test_a_tab_is_a_file_and_a_verb():
    from predella.cli import VERBS
    from predella.studio.page import TABS

    assert set(TABS.values()) <= VERBS.keys()
    assert all(callable(import_module(f"predella.studio.{name}").tab) for name in TABS.values())
