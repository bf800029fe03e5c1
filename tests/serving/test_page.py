"""The page in a real browser: pictures in, the slider, known labels, errors, the keyboard alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from addkit.model import Predictor
from addkit.serving.card import model_card
from addkit.serving.limits import Limits

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
CHROMIUM = os.environ.get("ADDKIT_CHROMIUM") or shutil.which("chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium, such as apt's")

expect = sync_api.expect
expect.set_options(timeout=20_000)  # A busy machine is no fault of the page.
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
NOT_READ = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"}
DROP = """([name, bytes]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--use-fake-device-for-media-stream"]
        flags.append("--use-fake-ui-for-media-stream")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, listening_server: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Pages of served models; in the end none has asked another host or failed in a script."""
    contexts, hosts, complaints = [], set(), []

    def visit(path: str = "/", view: Any = None, dark: bool = False, **server: Any) -> Any:
        _, port = listening_server(**server)
        context = browser.new_context(
            viewport=view or DESKTOP,
            color_scheme="dark" if dark else "light",
            # Without the film from noise to answer, which would take a second each time.
            reduced_motion="reduce",
            permissions=["camera"],
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        # Of the refused scripts and addresses; statuses of the server are expected.
        page.on(
            "console",
            lambda line: "Security Policy" in line.text and complaints.append(line.text),
        )
        page.goto(f"http://localhost:{port}{path}")
        if path.startswith("/#") or path == "/":
            page.wait_for_selector("#sampler option", state="attached")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert hosts <= {"localhost", None, ""}
    assert not complaints


def give(page: Any, *files: Any) -> None:
    """Choose files, and wait for their answers."""
    page.set_input_files("#files", list(files))
    expect(page.locator("#film .busy")).to_have_count(0)


def serious(page: Any) -> list[str]:
    """What axe-core takes for serious or critical."""
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="needs axe-core-python")
    found = axe.Axe().run(page)["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html']}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


def test_a_dropped_picture_is_answered_and_its_chain_slides(
    opened: Any, digits: Predictor, digit_images: list[Path]
) -> None:
    page = opened()
    page.evaluate(DROP, ["digit.png", list(digit_images[0].read_bytes())])
    label = digits.predict(digit_images[0]).label
    expect(page.locator("#best")).to_have_text(label.name)
    expect(page.locator("#film span")).to_have_text(label.name)
    sure = page.locator("#sure").inner_text()
    slider = page.locator("#step")
    slider.focus()
    page.keyboard.press("Home")
    expect(page.locator("#when")).to_contain_text("step 1 of")
    expect(page.locator("#sure")).to_have_text("")
    page.keyboard.press("End")
    expect(page.locator("#sure")).to_have_text(sure)
    # Other noise is another chain with the same answer in one pass.
    page.get_by_role("button", name="New noise").click()
    expect(page.locator("#seed")).to_have_value("1")
    page.get_by_role("button", name="Play").click()
    expect(page.locator("#when")).to_contain_text("after")


def test_several_pictures_and_one_that_is_none(opened: Any, digit_images: list[Path]) -> None:
    page = opened()
    give(page, NOT_READ)
    alert = page.get_by_role("alert")
    expect(alert).to_be_visible()
    expect(alert).to_contain_text("no image")
    give(page, *map(str, digit_images))
    expect(alert).to_be_hidden()
    film = page.locator("#film button")
    expect(film).to_have_count(4)
    expect(film.nth(1)).to_have_attribute("aria-current", "true")
    film.nth(0).click()
    expect(alert).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(film).to_have_count(0)
    expect(page.locator("#invitation")).to_be_visible()


def test_the_keyboard_alone(opened: Any, untrained: Any, digit_images: list[Path]) -> None:
    page = opened(predictor=untrained("attributes"))

    def tab_to(selector: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                return
        raise AssertionError(f"{selector} cannot be reached")

    tab_to("#choose")
    # Chromium without a screen does not always open the dialog for a key: no user has pressed it.
    page.evaluate(
        "() => { document.getElementById('files').onclick = () => (window.asked = true); }"
    )
    page.keyboard.press("Enter")
    assert page.evaluate("() => window.asked")
    page.set_input_files("#files", str(digit_images[0]))
    expect(page.locator("#result")).to_be_visible()
    tab_to("#step")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#when")).to_contain_text("step")
    tab_to("button.row")
    page.keyboard.press("Space")
    # It stays where it was, so that the next key goes on from there.
    expect(page.locator("button.row:focus")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Space")
    expect(page.locator("button.row:focus")).to_have_attribute("aria-pressed", "false")


def test_a_known_value_moves_the_others(
    opened: Any, untrained: Any, digit_images: list[Path]
) -> None:
    predictor = untrained("attributes")
    page = opened(predictor=predictor)
    give(page, str(digit_images[0]))
    names = predictor.facts.token_names
    expect(page.locator("#labels h3")).to_have_text(list(names))
    row = page.locator('[data-key="tone=dark"]')
    row.click()
    expect(row).to_have_attribute("aria-pressed", "true")
    settings = {"steps": 2, "chains": 1, "given": {"tone": "dark"}, "seed": 0}
    expected = predictor.predict(digit_images[0], **settings)
    expect(page.locator("#best")).to_have_text(expected.summary)
    page.get_by_role("button", name="Free all").click()
    expect(row).to_have_attribute("aria-pressed", "false")
    # Soft evidence: a slider for each value of each label.
    tone = page.locator("details.evidence").nth(names.index("tone"))
    tone.locator("summary").click()
    tone.get_by_label("tone: dark", exact=True).focus()
    page.keyboard.press("End")
    expect(page.locator("#made")).to_contain_text("evidence")
    settings = {"steps": 2, "chains": 1, "evidence": {"tone": {"dark": 1.0}}, "seed": 0}
    sampler = model_card(predictor, Limits()).evidence_sampler
    expected = predictor.predict(digit_images[0], **settings, sampler=sampler)
    expect(page.locator("#best")).to_have_text(expected.summary)


def test_a_tag_is_present_or_absent(opened: Any, untrained: Any, digit_images: list[Path]) -> None:
    predictor = untrained("tags")
    page = opened(predictor=predictor)
    give(page, str(digit_images[0]))
    page.locator("summary", has_text="more").click()
    row = page.locator('[data-key="=woman"]')
    for known in ("yes", "no"):
        row.click()
        expect(row).to_contain_text(f"known: {known}")
        settings = {"steps": 2, "chains": 1, "given": {"woman": known}, "seed": 0}
        expected = predictor.predict(digit_images[0], **settings)
        expect(page.locator("#film span")).to_have_text(expected.summary)
        expect(page.locator("#best")).to_have_text(expected.summary)
    row.click()
    expect(row).to_have_attribute("aria-pressed", "false")


def test_words_are_held_and_freed(opened: Any, untrained: Any, digit_images: list[Path]) -> None:
    predictor = untrained("emoji")
    page = opened(predictor=predictor)
    give(page, str(digit_images[0]))
    page.locator("#template").fill("red tone _")
    page.get_by_role("button", name="Write").click()
    words = page.locator(".word")
    expect(words).to_have_count(3)
    pressed = page.locator('.word[aria-pressed="true"]')
    expect(pressed).to_have_text(["red", "tone"])
    words.first.click()
    expect(pressed).to_have_text(["tone"])
    expect(page.locator("#template")).to_have_value("_ tone _")
    given = {"template": "_ tone _"}
    expected = predictor.predict(digit_images[0], given=given, steps=2, chains=1, seed=0)
    expect(words).to_have_text(expected.text.split())
    page.locator("#template").fill("notaword _")
    page.locator("#template").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("notaword")
    page.get_by_role("button", name="Free all").click()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_the_camera(opened: Any) -> None:
    page = opened()
    page.get_by_role("button", name="Camera").click()
    page.wait_for_function("() => document.getElementById('video').videoWidth > 0")
    page.get_by_role("button", name="Take photo").click()
    expect(page.locator("#best .sharp")).to_be_visible()
    expect(page.locator("#camera-dialog")).to_be_hidden()


def test_a_token_is_asked_for(opened: Any, digit_images: list[Path]) -> None:
    page = opened("/#token=right", token="right")
    assert "right" not in page.url
    page.evaluate("() => sessionStorage.clear()")
    page.reload()
    page.locator("#token").fill("wrong")
    page.locator("#token").press("Enter")
    page.locator("#token").fill("right")
    page.get_by_role("button", name="Continue").click()
    give(page, str(digit_images[0]))
    expect(page.locator("#best .sharp")).to_be_visible()


@pytest.mark.parametrize(
    ("recipe", "view", "dark"), [("attributes", PHONE, False), ("emoji", DESKTOP, True)]
)
def test_nothing_serious_for_screen_readers_and_fingers(
    recipe: str, view: Any, dark: bool, opened: Any, untrained: Any, digit_images: list[Path]
) -> None:
    page = opened(predictor=untrained(recipe), view=view, dark=dark)
    assert serious(page) == []
    give(page, NOT_READ)
    give(page, str(digit_images[0]))
    page.locator("#film button").first.click()
    assert serious(page) == []
    page.locator("#film button").last.click()
    for summary in page.locator("summary").all():
        summary.click()
    assert serious(page) == []
    # Nothing is wider than the screen.
    assert page.evaluate("() => document.documentElement.scrollWidth") <= view["width"]


def test_the_page_of_the_api(opened: Any) -> None:
    page = opened("/docs", view=PHONE)
    expect(page.locator("h2")).to_have_count(4)
    expect(page.locator("main")).to_contain_text("evidence")
    assert serious(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
