"""The page to zoom into, in a browser."""

import io
import re

import pytest
from browser import chromium
from PIL import Image

from jasgd import fleet, pictures, protocols

SCHEDULE = protocols.ringmaster(fleet.power_law(12, exponent=0.8), 60, threshold=4, stop=True)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A browser with the page of the schedule above."""
    path = tmp_path_factory.mktemp("pages") / "timeline.html"
    pictures.zoomable(SCHEDULE, path)
    with chromium() as driver:
        driver.get(path.as_uri())
        yield driver


@pytest.fixture
def page(opened):
    """The same, with everything in view and nothing selected."""
    press(opened, "0")
    press(opened, "Escape")
    return opened


def press(driver, key):
    driver.execute_script("window.dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0], bubbles: true}))", key)


def view(driver):
    return driver.execute_script("return window.jasgd.view()")


def place(driver, worker, job):
    return [round(at) for at in driver.execute_script("return window.jasgd.place(...arguments)", worker, job)]


def point(driver, x, y, *, click=False, wheel=0):
    from selenium.webdriver.common.action_chains import ActionChains

    actions = ActionChains(driver)
    actions.w3c_actions.pointer_action.move_to_location(x, y)
    if click:
        actions.w3c_actions.pointer_action.click()
    actions.perform()
    if wheel:
        canvas = "document.getElementById('plot')"
        event = f"new WheelEvent('wheel', {{deltaY: {wheel}, clientX: {x}, clientY: {y}, cancelable: true}})"
        driver.execute_script(f"{canvas}.dispatchEvent({event})")


def test_the_page_opens_from_a_file_without_a_word_of_complaint(page):
    """No errors in the console, nothing fetched, everything in view."""
    assert page.get_log("browser") == []
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert page.title == "ringmaster: all 12 workers, all 34.4082 s, all 60 deliveries"
    assert (view(page)["begin"], view(page)["end"]) == (0, SCHEDULE.time[-1])
    legend = page.find_element("id", "legend").text
    assert "used, delay 0 to 3 [server updates]" in legend
    assert "cancelled" in legend
    assert "dropped" not in legend


@pytest.mark.parametrize("row", [0, 7, 33])
def test_hovering_over_a_job_shows_its_numbers(page, row):
    """Worker, job, versions, delay, start and end, of the row of the table."""
    worker, job = int(SCHEDULE.worker[row]), int(SCHEDULE.job[row])
    point(page, *place(page, worker, job))
    read, version = SCHEDULE.read[row], SCHEDULE.version[row]
    start, end = (f"{time:.9g}" for time in (SCHEDULE.start[row], SCHEDULE.time[row]))
    assert page.find_element("id", "tip").text.split("\n") == [
        f"worker {worker}, job {job}",
        f"read version {read}, made version {version + 1}",
        f"delay {version - read}",
        f"start {start} s",
        f"end {end} s",
    ]


def test_hovering_over_a_cancelled_job_says_so(page):
    """The third job of the slowest worker."""
    point(page, *place(page, 11, 2))
    lines = page.find_element("id", "tip").text.split("\n")
    assert lines[:2] == ["worker 11, job 2", "cancelled, read version 8"]
    assert lines[2] == f"start {SCHEDULE.version_time[8]:.9g} s"
    assert lines[3] == f"end {SCHEDULE.version_time[12]:.9g} s"


def test_the_wheel_zooms_at_the_pointer(page):
    """The window becomes shorter, and what is under the pointer stays there; a drag moves it."""
    x, y = place(page, 2, 5)
    point(page, x, y, wheel=-500)
    found = view(page)
    assert 0 < found["begin"] < found["end"] < SCHEDULE.time[-1]
    assert found["end"] - found["begin"] == pytest.approx(SCHEDULE.time[-1] * 0.3679, rel=0.01)
    point(page, x, y)
    assert page.find_element("id", "tip").text.startswith("worker 2, job 5\n")
    from selenium.webdriver.common.action_chains import ActionChains

    actions = ActionChains(page)
    actions.w3c_actions.pointer_action.move_to_location(x, y).pointer_down().move_to_location(x - 100, y).pointer_up()
    actions.perform()
    assert view(page)["begin"] > found["begin"]


@pytest.mark.parametrize(
    ("key", "change"),
    [("+", lambda a, b: b["begin"] > a["begin"] and b["end"] < a["end"]), ("ArrowDown", lambda a, b: b["row"] >= a["row"])],
)
def test_keys_move_the_window(page, key, change):
    """Zoom and scroll, and 0 goes back to everything."""
    before = view(page)
    press(page, key)
    assert change(before, view(page))
    press(page, "0")
    assert view(page) == before


def test_a_click_keeps_a_job_and_its_versions_and_n_goes_on_to_the_next(page):
    """The line at the bottom says which; Escape lets go."""
    row = 33
    worker, job = int(SCHEDULE.worker[row]), int(SCHEDULE.job[row])
    point(page, *place(page, worker, job), click=True)
    details = page.find_element("id", "details")
    assert details.text.startswith(f"worker {worker}, job {job} · read version {SCHEDULE.read[row]}, made version")
    press(page, "n")
    assert details.text.startswith(f"worker {worker}, job {job + 1} ·")
    press(page, "Escape")
    assert details.text.startswith("Wheel: zoom.")


def test_a_pinch_zooms(page):
    """Two fingers that part make the window shorter, and what is under the one that rests stays there."""
    x, y = place(page, 0, 10)
    before = view(page)
    for kind, fingers in (
        ("touchStart", [x, x + 80]),
        ("touchMove", [x, x + 160]),
        ("touchMove", [x, x + 320]),
        ("touchEnd", []),
    ):
        points = [{"x": at, "y": y, "id": i} for i, at in enumerate(fingers)]
        page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    found = view(page)
    assert found["end"] - found["begin"] == pytest.approx((before["end"] - before["begin"]) / 4, rel=0.01)
    assert place(page, 0, 10)[0] == pytest.approx(x, abs=20)  # its middle; it has become four times as long


def test_dark_and_light_are_drawn_apart(page):
    """The button changes the colour of the paper, that of the canvas, too."""
    button = page.find_element("css selector", "[data-do=theme]")
    seen = []
    for _ in range(2):
        button.click()
        page.execute_script("window.jasgd.draw()")
        picture = Image.open(io.BytesIO(page.get_screenshot_as_png())).convert("L")
        seen.append([picture.getpixel((300, picture.height - height)) for height in (3, 50)])
    assert sorted(min(pixels) > 200 for pixels in seen) == [False, True]
    assert sorted(max(pixels) < 60 for pixels in seen) == [False, True]


def test_a_hundred_thousand_jobs_are_drawn_in_a_moment(opened, tmp_path):
    """The whole of them; 35 ms on two idle cores without a graphics card, and a second at most on busy ones."""
    schedule = protocols.asynchronous(fleet.power_law(1000, exponent=0.5), 100_000)
    pictures.zoomable(schedule, tmp_path / "large.html")
    opened.get((tmp_path / "large.html").as_uri())
    assert opened.execute_script("return window.jasgd.jobs") >= 100_000
    timed = "const began = performance.now(); window.jasgd.draw(); return performance.now() - began"
    assert min(opened.execute_script(timed) for _ in range(3)) < 1000
    assert opened.get_log("browser") == []


def test_the_page_holds_everything_it_needs(tmp_path):
    """No address of another file; also where there is no browser to try it."""
    pictures.zoomable(SCHEDULE, tmp_path / "timeline.html")
    text = (tmp_path / "timeline.html").read_text()
    assert not re.search(r"(src|href)\s*=|https?://|@import|url\(", text)
