"""The page in a real browser: from a picture chosen to a picture saved."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from srgan_trt.upscaler import Upscaler

from .service import Service, pixels, png, service

playwright = pytest.importorskip("playwright.sync_api", reason='pip install ".[dev]"')
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("no Chromium: apt install chromium", allow_module_level=True)
WAIT = 60_000
"""Milliseconds, of a machine that has other things to do."""


def file(name: str, content: bytes = png(30, 40), kind: str = "image/png") -> Any:
    return {"name": name, "mimeType": kind, "buffer": content}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as tool:
        chromium = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def tab(browser: Any, served: Service) -> Iterator[Any]:
    """The page, watched: no error, and no request to anybody else."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(WAIT)
    page = context.new_page()
    errors: list[str] = []
    foreign: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
    page.on("request", lambda request: foreign.append(request.url) if not _ours(request.url, served) else None)
    page.goto(served.url)
    page.locator("#formats label").first.wait_for()
    yield page
    context.close()
    assert errors == []
    assert foreign == []


def _ours(address: str, served: Service) -> bool:
    return address.startswith((served.url, f"blob:{served.url}"))


def choose(tab: Any, *files: Any) -> None:
    tab.set_input_files("#picker", list(files))


def done(tab: Any, name: str) -> Any:
    link = tab.get_by_role("link", name=f"Download {name}")
    link.wait_for()
    return link


def saved(tab: Any, link: Any) -> tuple[str, bytes]:
    with tab.expect_download() as download:
        link.click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def doubled(content: bytes) -> Any:
    return pixels(content).repeat(2, axis=0).repeat(2, axis=1)


def test_from_a_picture_chosen_to_a_picture_saved(tab: Any) -> None:
    content = png(30, 40)
    choose(tab, file("my photo.png", content))
    name, result = saved(tab, done(tab, "my photo.png"))
    assert name == "my photo_x2.png"
    assert np.array_equal(pixels(result), doubled(content))
    assert "80 \u00d7 60" in tab.locator("#facts").inner_text()
    assert saved(tab, tab.locator("#download"))[1] == result


def test_two_pictures_and_all_of_them_in_one_file(tab: Any) -> None:
    """Of the same name, too."""
    first, second = png(30, 40, seed=1), png(20, 20, seed=2)
    choose(tab, file("a.png", first), file("b.png", second))
    done(tab, "a.png")
    done(tab, "b.png")
    choose(tab, file("a.png", second))
    tab.locator(".item a").nth(2).wait_for()
    name, content = saved(tab, tab.get_by_role("button", name="Download all"))
    assert name == "pictures.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a_x2.png", "b_x2.png", "a_x2 (2).png"]
        assert np.array_equal(pixels(archive.read("a_x2.png")), doubled(first))
        assert np.array_equal(pixels(archive.read("b_x2.png")), doubled(second))
    tab.get_by_role("button", name="Clear list").click()
    tab.get_by_role("heading", name="Make pictures larger").wait_for()


def test_options_are_kept_to_and_a_picture_is_done_again(tab: Any) -> None:
    choose(tab, file("a.png"))
    done(tab, "a.png")
    again = tab.get_by_role("button", name="Do this picture again")
    assert not again.is_visible()
    tab.get_by_role("radio", name="JPEG", exact=True).check(force=True)
    tab.get_by_label("Quality").fill("60")
    again.click()
    tab.locator(".item a[download='a_x2.jpg']").wait_for()
    name, content = saved(tab, done(tab, "a.png"))
    assert name == "a_x2.jpg"
    assert content.startswith(b"\xff\xd8\xff")
    assert not again.is_visible()


def test_sizes(tab: Any) -> None:
    """The model's own, another scale, or a width; the stage and the file's name say which."""
    assert tab.locator("#size option").all_inner_texts() == ["2 times as large", "3 times as large", "By width"]
    tab.select_option("#size", "3")
    assert tab.locator("#claim").inner_text() == "Pictures, 3 times as large"
    choose(tab, file("a.png"))
    name, content = saved(tab, done(tab, "a.png"))
    assert (name, pixels(content).shape) == ("a_x3.png", (90, 120, 3))
    tab.select_option("#size", "width")
    tab.fill("#width", "100")
    tab.get_by_role("button", name="Do this picture again").click()
    tab.get_by_text("100 \u00d7 75").first.wait_for()
    name, content = saved(tab, done(tab, "a.png"))
    assert (name, pixels(content).shape) == ("a_w100.png", (75, 100, 3))


def test_a_size_that_cannot_be_had_is_told(tab: Any) -> None:
    tab.select_option("#size", "width")
    tab.fill("#width", "9000")
    choose(tab, file("a.png"))
    tab.locator("#notice .error-text").get_by_text("the network makes x2 and, run twice, x4").wait_for()


def test_texture_is_offered_where_a_model_has_a_partner(browser: Any) -> None:
    with service("--model", "srresnet-photo-x4") as running, Upscaler("srresnet-photo-x4", texture=0.75) as up:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(WAIT)
        page = context.new_page()
        page.goto(running.url)
        page.locator("#texture").wait_for()
        page.locator("#texture").fill("0.75")
        assert page.locator("#texture-value").inner_text() == "much"
        choose(page, file("a.png"))
        _, content = saved(page, done(page, "a.png"))
        assert np.array_equal(pixels(content), up(pixels(png(30, 40))))
        context.close()


def test_formats_come_with_their_own_quality(tab: Any) -> None:
    choose(tab, file("a.png"))
    done(tab, "a.png")
    for name, quality in (("JPEG XL", "95"), ("AVIF", "85")):
        tab.get_by_role("radio", name=name, exact=True).check(force=True)
        assert tab.get_by_label("Quality").input_value() == quality
    tab.get_by_role("button", name="Do this picture again").click()
    tab.locator(".item a[download='a_x2.avif']").wait_for()
    name, content = saved(tab, done(tab, "a.png"))
    assert (name, content[4:12]) == ("a_x2.avif", b"ftypavif")
    assert not tab.locator("#notice").is_visible()  # this browser shows it
    tab.get_by_role("radio", name="PNG").check(force=True)
    assert not tab.locator("#quality").is_visible()


def test_errors_say_what_to_do(tab: Any) -> None:
    choose(tab, file("notes.txt", b"hello", "text/plain"))
    notice = tab.locator("#notice")
    notice.get_by_text("not a readable picture").wait_for()
    assert "convert it" in notice.inner_text()
    choose(tab, file("large.png", png(300, 300)))
    notice.get_by_text("the limit").wait_for()
    assert "denser format" in notice.inner_text()
    choose(tab, file("wide.bmp", b"BM" + bytes(200)))
    notice.get_by_text("damaged").wait_for()
    notice.get_by_role("button", name="Remove").click()
    assert tab.locator(".item").count() == 2


def test_a_picture_that_browsers_do_not_show_is_compared_with_nothing(tab: Any) -> None:
    content = io.BytesIO()
    Image.fromarray(pixels(png(20, 20))).save(content, "TIFF")
    choose(tab, file("a.tiff", content.getvalue(), "image/tiff"))
    done(tab, "a.tiff")
    tab.locator("#stage.is-alone:not(.is-blank)").wait_for()
    assert tab.locator("#split").is_disabled()
    assert not tab.locator("#notice").is_visible()
    tab.get_by_role("radio", name="TIFF").check(force=True)
    tab.get_by_role("button", name="Do this picture again").click()
    tab.locator("#notice").get_by_text("ready to download").wait_for()
    assert saved(tab, done(tab, "a.tiff"))[0] == "a_x2.tiff"


def test_a_service_that_is_away(tab: Any) -> None:
    """Everything stays there, and goes on when it is back."""
    tab.context.set_offline(True)
    choose(tab, file("a.png"))
    tab.locator("#notice").get_by_text("cannot be reached").wait_for()
    tab.context.set_offline(False)
    tab.locator("#notice").get_by_role("button", name="Try again").click()
    done(tab, "a.png")


def test_by_the_keyboard_alone(tab: Any) -> None:
    def press_until(what: str, key: str = "Tab") -> None:
        for _ in range(40):
            tab.keyboard.press(key)
            if tab.evaluate("document.activeElement.matches('" + what + "')"):
                return
        raise AssertionError(f"the keyboard does not come to {what}")

    with tab.expect_file_chooser() as chooser:
        press_until("[data-action=pick]")
        tab.keyboard.press("Enter")
    chooser.value.set_files([file("a.png")])
    done(tab, "a.png")
    press_until("#split")
    before = tab.locator("#stage").evaluate("stage => stage.style.getPropertyValue('--split')")
    for _ in range(10):
        tab.keyboard.press("ArrowLeft")
    assert tab.locator("#split").get_attribute("aria-valuetext") == "40 % before, 60 % after"
    assert tab.locator("#stage").evaluate("stage => stage.style.getPropertyValue('--split')") != before
    press_until("#stage", "Shift+Tab")
    fitted = tab.locator("#zoom-level").inner_text()
    tab.keyboard.press("1")
    assert tab.locator("#zoom-level").inner_text() == "100 %"
    tab.keyboard.press("+")
    assert tab.locator("#zoom-level").inner_text() == "125 %"
    tab.keyboard.press("0")
    assert tab.locator("#zoom-level").inner_text() == fitted
    press_until("#download")
    with tab.expect_download() as download:
        tab.keyboard.press("Enter")
    assert download.value.suggested_filename == "a_x2.png"
    press_until("#model")
    press_until("#formats input")
    tab.keyboard.press("ArrowRight")
    assert tab.get_by_role("radio", name="JPEG", exact=True).is_checked()
    press_until("#redo")


def test_wheel_fingers_and_the_line(tab: Any) -> None:
    choose(tab, file("a.png"))
    done(tab, "a.png")
    level = tab.locator("#zoom-level")
    before = level.inner_text()
    box = tab.locator("#stage").bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 2)
    tab.mouse.wheel(0, -300)
    assert level.inner_text() != before
    tab.get_by_role("button", name="Fit").click()
    handle = tab.locator("#handle").bounding_box()
    tab.mouse.move(handle["x"] + 22, handle["y"] + 60)
    tab.mouse.down()
    tab.mouse.move(handle["x"] - 100, handle["y"] + 60)
    tab.mouse.up()
    assert int(tab.locator("#split").input_value()) < 45
    for kind, apart in (("pointerdown", 40), ("pointermove", 90)):
        for finger, x in ((11, -apart), (12, apart)):
            tab.locator("#stage").evaluate(
                "(stage, [kind, pointerId, x, y]) => { stage.setPointerCapture = () => {};"
                "stage.dispatchEvent(new PointerEvent(kind, {pointerId, clientX: x, clientY: y, bubbles: true})); }",
                [kind, finger, box["x"] + box["width"] / 2 + x, box["y"] + 200],
            )
    assert level.inner_text() not in (before, "100 %")


def test_pasted_and_dropped_pictures(tab: Any) -> None:
    tab.evaluate(
        """([pasted, dropped]) => {
            const files = (name, content) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(content)], name, {type: "image/png"}));
                return data;
            };
            const paste = new ClipboardEvent("paste", {clipboardData: files("pasted.png", pasted), bubbles: true});
            document.dispatchEvent(paste);
            document.dispatchEvent(new DragEvent("drop", {dataTransfer: files("dropped.png", dropped), bubbles: true}));
        }""",
        [list(png(8, 8)), list(png(9, 9))],
    )
    done(tab, "pasted.png")
    done(tab, "dropped.png")


def test_a_picture_is_given_up(browser: Any) -> None:
    with service("--model", "srgan-photo-x4") as running:
        page = browser.new_page()
        page.set_default_timeout(WAIT)
        page.goto(running.url)
        page.locator("#denoise option").first.wait_for(state="attached")
        page.set_input_files("#picker", file("large.png", png(1200, 1600)))
        page.locator("#notice").get_by_text("Enlarging").wait_for()
        page.locator("#notice").get_by_role("button", name="Cancel").click()
        page.locator("#notice").get_by_text("Given up").wait_for()
        page.wait_for_timeout(1500)
        assert running.metric("srgan_trt_running") == 0
        page.locator("#notice").get_by_role("button", name="Start again").click()
        page.locator("#notice").get_by_text("Enlarging").wait_for()
        page.close()


def test_a_token_is_asked_for_or_comes_with_the_link(browser: Any, nearest: Path, tmp_path: Path) -> None:
    secret = "0123456789abcdef"
    (tmp_path / "token").write_text(secret)
    with service("--model", nearest, "--token-file", tmp_path / "token") as running:
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.goto(running.url)
        page.get_by_role("textbox", name="Token").fill("wrong")
        page.get_by_role("button", name="Enter").click()
        page.get_by_text("not the one").wait_for()
        page.get_by_role("textbox", name="Token").fill(secret)
        page.get_by_role("button", name="Enter").click()
        page.locator("#formats label").first.wait_for()
        context.close()
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.goto(f"{running.url}/#token={secret}")
        page.locator("#formats label").first.wait_for()
        assert secret not in page.url
        choose(page, file("a.png"))
        done(page, "a.png")
        context.close()


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_it_fits_every_width(browser: Any, served: Service, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.goto(served.url)
    page.locator("#formats label").first.wait_for()
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        choose(page, file("a name that is longer than any room for it could be on a phone.png"))
        page.locator(".item a").first.wait_for()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Any, served: Service, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason='pip install ".[dev]"').Axe()
    context = browser.new_context(color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.goto(served.url)
    page.locator("#formats label").first.wait_for()

    def check() -> None:
        assert not (found := axe.run(page)).violations_count, found.generate_report()

    check()
    choose(page, file("a.png"))
    done(page, "a.png")
    check()
    choose(page, file("notes.txt", b"hello", "text/plain"))
    page.locator("#notice").get_by_text("not a readable picture").wait_for()
    check()
    context.close()
